import type { Caller } from "../client/caller.ts";
import type { CallOptions } from "../connection/connection.ts";
import { domainProcedures as rows } from "../table/domain.ts";
import { type DomainRef, flags, uuidInXml, wireDomain } from "./wire.ts";

/** How a saved domain is to go on. Without either, as it was. */
export interface SaveOptions extends CallOptions {
  readonly running?: boolean;
  readonly paused?: boolean;
  /** Another description to start the image with. */
  readonly xml?: string;
}

/** Writing a domain's memory to disk and taking it up again. */
export class Saves {
  readonly #caller: Caller;

  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /** Writes memory and state to a file on the daemon's machine and stops the domain. */
  async save(ref: DomainRef, file: string, options: SaveOptions = {}): Promise<void> {
    const args = { domain: wireDomain(ref), to: file, xml: options.xml ?? null, flags: goOn(options) };
    await this.#caller.call(rows.domainSaveFlags, args, { ...options, order: ref.uuid });
  }

  /** Starts the domain that a file holds. `ref` only tells which jobs to wait for. */
  async restore(file: string, options: SaveOptions & { readonly ref?: DomainRef } = {}): Promise<void> {
    const args = { from: file, xml: options.xml ?? null, flags: goOn(options) };
    const order = options.ref?.uuid ?? (options.xml === undefined ? undefined : uuidInXml(options.xml));
    await this.#caller.call(rows.domainRestoreFlags, args, { ...options, order });
  }

  /** The description inside a file. */
  async imageXml(file: string, options?: CallOptions): Promise<string> {
    return (await this.#caller.call(rows.domainSaveImageGetXmlDesc, { file, flags: 0 }, options)).xml;
  }

  /** Saves to a place of the daemon's own; the next start goes on from there. */
  async managedSave(ref: DomainRef, options: SaveOptions = {}): Promise<void> {
    const args = { domain: wireDomain(ref), flags: goOn(options) };
    await this.#caller.call(rows.domainManagedSave, args, { ...options, order: ref.uuid });
  }

  /** Whether the next start goes on from a managed save. */
  async hasManagedSave(ref: DomainRef, options?: CallOptions): Promise<boolean> {
    const args = { domain: wireDomain(ref), flags: 0 };
    return (await this.#caller.call(rows.domainHasManagedSaveImage, args, options)).result !== 0;
  }

  /** Throws a managed save away; the next start boots. */
  async removeManagedSave(ref: DomainRef, options: CallOptions = {}): Promise<void> {
    const args = { domain: wireDomain(ref), flags: 0 };
    await this.#caller.call(rows.domainManagedSaveRemove, args, { ...options, order: ref.uuid });
  }
}

function goOn(options: SaveOptions): number {
  return flags([options.running, 1], [options.paused, 2]);
}
