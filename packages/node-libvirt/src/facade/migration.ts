import type { Caller } from "../client/caller.ts";
import type { CallOptions } from "../connection/connection.ts";
import { domainProcedures } from "../table/domain.ts";
import type { Domain, TypedParam } from "../table/fields.ts";
import { migrationProcedures as rows } from "../table/migration.ts";
import { type DomainRef, flags, type ParamRecord, paramRecord, wireDomain } from "./wire.ts";

/** `virDomainMigrateFlags`, by bit. */
const FLAG_BIT = {
  live: 0,
  peer2peer: 1,
  tunnelled: 2,
  persistDestination: 3,
  undefineSource: 4,
  paused: 5,
  nonSharedDisk: 6,
  nonSharedIncremental: 7,
  changeProtection: 8,
  unsafe: 9,
  offline: 10,
  compressed: 11,
  abortOnError: 12,
  autoConverge: 13,
  rdmaPinAll: 14,
  postCopy: 15,
  tls: 16,
  parallel: 17,
} as const;

/** A property of a migration. */
export type MigrationFlag = keyof typeof FLAG_BIT;

/** What all five steps of one migration are given alike. */
export interface MigrationPlan {
  readonly flags: readonly MigrationFlag[];
  /** Where the guest's memory goes, such as `tcp://beta.example:49152` or `unix:///run/m.sock`. */
  readonly uri?: string;
  /** Description of the domain at its destination. */
  readonly destinationXml?: string;
  /** Name of the domain at its destination. */
  readonly destinationName?: string;
  /** Address the destination listens on. */
  readonly listenAddress?: string;
  /** Where copied disks go, such as `unix:///run/disks.sock`; for memory over a unix socket. */
  readonly disksUri?: string;
  readonly bandwidthMiBps?: bigint;
}

/** How far a job is: `type` is `virDomainJobType` (0 none, 1 bounded, 2 unbounded, 3 done, 4 failed, 5 cancelled). */
export interface JobStats {
  readonly type: number;
  readonly stats: ParamRecord;
}

/**
 * Live migration in its five steps, so that two programs can steer it: begin at the source, prepare at the
 * destination, perform at the source, finish at the destination, confirm at the source. Each step's cookie goes to the
 * next one as it is. The steps do not wait for other jobs of the domain. Give `perform` a deadline that fits the guest.
 */
export class Migration {
  readonly #caller: Caller;

  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /** Step 1, at the source: locks the domain's definition, returns it for the destination. */
  async begin(
    ref: DomainRef,
    plan: MigrationPlan,
    options?: CallOptions,
  ): Promise<{ cookie: Uint8Array; xml: string }> {
    const args = { domain: wireDomain(ref), params: planParams(plan), flags: planFlags(plan) };
    const { cookieOut, xml } = await this.#caller.call(rows.domainMigrateBegin3Params, args, options);
    return { cookie: cookieOut, xml };
  }

  /** Step 2, at the destination: makes it listen. `xml` is what `begin` returned. */
  async prepare(
    xml: string,
    plan: MigrationPlan,
    cookie: Uint8Array,
    options?: CallOptions,
  ): Promise<{ cookie: Uint8Array; uri: string | undefined }> {
    const params = planParams({ ...plan, destinationXml: xml });
    const args = { params, cookieIn: cookie, flags: planFlags(plan) };
    const { cookieOut, uriOut } = await this.#caller.call(rows.domainMigratePrepare3Params, args, options);
    return { cookie: cookieOut, uri: uriOut ?? plan.uri };
  }

  /** Step 3, at the source: sends the memory. With `destinationDaemon` the daemon itself does all five (peer to peer). */
  async perform(
    ref: DomainRef,
    plan: MigrationPlan,
    cookie: Uint8Array,
    options: CallOptions & { readonly destinationDaemon?: string } = {},
  ): Promise<{ cookie: Uint8Array }> {
    const { cookieOut } = await this.#caller.call(
      rows.domainMigratePerform3Params,
      {
        domain: wireDomain(ref),
        destinationUri: options.destinationDaemon ?? null,
        params: planParams(plan),
        cookieIn: cookie,
        flags: planFlags(plan),
      },
      options,
    );
    return { cookie: cookieOut };
  }

  /** Step 4, at the destination: lets the domain run there, or cleans up where step 3 failed (`cancelled`). */
  async finish(
    plan: MigrationPlan,
    cookie: Uint8Array,
    cancelled: boolean,
    options?: CallOptions,
  ): Promise<{ cookie: Uint8Array; domain: Domain }> {
    const args = {
      params: planParams(plan),
      cookieIn: cookie,
      flags: planFlags(plan),
      cancelled: cancelled ? 1 : 0,
    };
    const { cookieOut, domain } = await this.#caller.call(rows.domainMigrateFinish3Params, args, options);
    return { cookie: cookieOut, domain };
  }

  /** Step 5, at the source: removes the domain there, or lets it go on where it was cancelled. */
  async confirm(
    ref: DomainRef,
    plan: MigrationPlan,
    cookie: Uint8Array,
    cancelled: boolean,
    options?: CallOptions,
  ): Promise<void> {
    const args = {
      domain: wireDomain(ref),
      params: planParams(plan),
      cookieIn: cookie,
      flags: planFlags(plan),
      cancelled: cancelled ? 1 : 0,
    };
    await this.#caller.call(rows.domainMigrateConfirm3Params, args, options);
  }

  /** How far the domain's present job is, or with `completed` the figures of the last one. */
  async jobStats(ref: DomainRef, options: CallOptions & { readonly completed?: boolean } = {}): Promise<JobStats> {
    const args = { domain: wireDomain(ref), flags: flags([options.completed, 0]) };
    const { type, params } = await this.#caller.call(domainProcedures.domainGetJobStats, args, options);
    return { type, stats: paramRecord(params) };
  }

  /** Ends the domain's present job, at once and out of order. */
  async abortJob(ref: DomainRef, options?: CallOptions): Promise<void> {
    await this.#caller.call(domainProcedures.domainAbortJob, { domain: wireDomain(ref) }, options);
  }

  /** The longest pause of the guest at the end of a migration. */
  async setMaxDowntimeMs(ref: DomainRef, downtimeMs: bigint, options?: CallOptions): Promise<void> {
    const args = { domain: wireDomain(ref), downtimeMs, flags: 0 };
    await this.#caller.call(rows.domainMigrateSetMaxDowntime, args, options);
  }
}

function planFlags(plan: MigrationPlan): number {
  return flags(...plan.flags.map((flag) => [true, FLAG_BIT[flag]] as const));
}

/** The plan as `VIR_MIGRATE_PARAM_*`. */
function planParams(plan: MigrationPlan): TypedParam[] {
  const texts = {
    migrate_uri: plan.uri,
    destination_xml: plan.destinationXml,
    destination_name: plan.destinationName,
    listen_address: plan.listenAddress,
    disks_uri: plan.disksUri,
  };
  const params: TypedParam[] = [];
  for (const [field, value] of Object.entries(texts)) {
    if (value !== undefined) params.push({ field, value: { type: 7, value } });
  }
  if (plan.bandwidthMiBps !== undefined) {
    params.push({ field: "bandwidth", value: { type: 4, value: plan.bandwidthMiBps } });
  }
  return params;
}
