import type { Caller } from "../client/caller.ts";
import type { CallOptions } from "../connection/connection.ts";
import { ErrorCode } from "../fault.ts";
import type { Snapshot } from "../table/fields.ts";
import { snapshotProcedures as rows } from "../table/snapshot.ts";
import { type DomainRef, flags, orAbsent, wireDomain } from "./wire.ts";

/** How to take a snapshot. */
export interface SnapshotOptions extends CallOptions {
  /** Disks only, not the memory. */
  readonly diskOnly?: boolean;
  /** Asks the guest agent to freeze the file systems meanwhile; with `diskOnly`. */
  readonly quiesce?: boolean;
  /** All disks or none. */
  readonly atomic?: boolean;
  /** Stops the domain when done. */
  readonly halt?: boolean;
  /** Leaves the guest running while its memory is written. */
  readonly live?: boolean;
}

/** How to go back to a snapshot. */
export interface RevertOptions extends CallOptions {
  readonly running?: boolean;
  readonly paused?: boolean;
  /** Goes back even where the present state is lost. */
  readonly force?: boolean;
}

/** Snapshots of domains. */
export class Snapshots {
  readonly #caller: Caller;

  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /** All snapshots of a domain. */
  async list(ref: DomainRef, options?: CallOptions): Promise<readonly Snapshot[]> {
    const args = { domain: wireDomain(ref), needResults: 1, flags: 0 };
    return (await this.#caller.call(rows.domainListAllSnapshots, args, options)).snapshots;
  }

  /** The snapshot of that name, or undefined. */
  async lookup(ref: DomainRef, name: string, options?: CallOptions): Promise<Snapshot | undefined> {
    const found = this.#caller.call(
      rows.domainSnapshotLookupByName,
      { domain: wireDomain(ref), name, flags: 0 },
      options,
    );
    return (await orAbsent(found, ErrorCode.noDomainSnapshot))?.snapshot;
  }

  /** The snapshot the domain's present state derives from, or undefined. */
  async current(ref: DomainRef, options?: CallOptions): Promise<Snapshot | undefined> {
    const found = this.#caller.call(rows.domainSnapshotCurrent, { domain: wireDomain(ref), flags: 0 }, options);
    return (await orAbsent(found, ErrorCode.noDomainSnapshot))?.snapshot;
  }

  /** Takes a snapshot as described in XML, `<domainsnapshot/>` at the least. */
  async create(ref: DomainRef, xml = "<domainsnapshot/>", options: SnapshotOptions = {}): Promise<Snapshot> {
    const set = flags(
      [options.halt, 3],
      [options.diskOnly, 4],
      [options.quiesce, 6],
      [options.atomic, 7],
      [options.live, 8],
    );
    const args = { domain: wireDomain(ref), xml, flags: set };
    return (await this.#caller.call(rows.domainSnapshotCreateXml, args, { ...options, order: ref.uuid })).snapshot;
  }

  /** The snapshot's description in XML. */
  async xml(snapshot: Snapshot, options?: CallOptions): Promise<string> {
    return (await this.#caller.call(rows.domainSnapshotGetXmlDesc, { snapshot, flags: 0 }, options)).xml;
  }

  /** Takes the domain back to the snapshot. */
  async revert(snapshot: Snapshot, options: RevertOptions = {}): Promise<void> {
    const args = { snapshot, flags: flags([options.running, 0], [options.paused, 1], [options.force, 2]) };
    await this.#caller.call(rows.domainRevertToSnapshot, args, { ...options, order: snapshot.domain.uuid });
  }

  /** Deletes the snapshot, with `children` also those taken after it. */
  async delete(snapshot: Snapshot, options: CallOptions & { readonly children?: boolean } = {}): Promise<void> {
    const args = { snapshot, flags: flags([options.children, 0]) };
    await this.#caller.call(rows.domainSnapshotDelete, args, { ...options, order: snapshot.domain.uuid });
  }
}
