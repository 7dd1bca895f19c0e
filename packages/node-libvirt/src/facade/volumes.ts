import type { Caller } from "../client/caller.ts";
import type { CallOptions } from "../connection/connection.ts";
import { ErrorCode } from "../fault.ts";
import type { Pool, Volume } from "../table/fields.ts";
import { poolProcedures, volumeProcedures as rows } from "../table/storage.ts";
import { flags, orAbsent } from "./wire.ts";

const KINDS = ["file", "block", "dir", "network", "netdir", "ploop"] as const;

/** A volume's kind and size. */
export interface VolumeInfo {
  readonly kind: (typeof KINDS)[number] | "unknown";
  readonly capacityBytes: bigint;
  readonly allocationBytes: bigint;
}

/** Storage volumes, which are disks in pools. */
export class Volumes {
  readonly #caller: Caller;

  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /** All volumes of a pool. */
  async list(pool: Pool, options?: CallOptions): Promise<readonly Volume[]> {
    const args = { pool, needResults: 1, flags: 0 };
    return (await this.#caller.call(poolProcedures.storagePoolListAllVolumes, args, options)).volumes;
  }

  /** The volume of that name in a pool, or undefined. */
  async lookupByName(pool: Pool, name: string, options?: CallOptions): Promise<Volume | undefined> {
    const found = this.#caller.call(rows.storageVolLookupByName, { pool, name }, options);
    return (await orAbsent(found, ErrorCode.noStorageVolume))?.volume;
  }

  /** The volume at that path, or undefined. */
  async lookupByPath(path: string, options?: CallOptions): Promise<Volume | undefined> {
    const found = this.#caller.call(rows.storageVolLookupByPath, { path }, options);
    return (await orAbsent(found, ErrorCode.noStorageVolume))?.volume;
  }

  /** Makes a volume as described in XML. */
  async create(
    pool: Pool,
    xml: string,
    options: CallOptions & { readonly preallocateMetadata?: boolean } = {},
  ): Promise<Volume> {
    const args = { pool, xml, flags: flags([options.preallocateMetadata, 0]) };
    return (await this.#caller.call(rows.storageVolCreateXml, args, options)).volume;
  }

  /** Makes a volume with the content of another. */
  async clone(pool: Pool, xml: string, source: Volume, options?: CallOptions): Promise<Volume> {
    return (await this.#caller.call(rows.storageVolCreateXmlFrom, { pool, xml, source, flags: 0 }, options)).volume;
  }

  /** Deletes a volume with its content. */
  async delete(volume: Volume, options?: CallOptions): Promise<void> {
    await this.#caller.call(rows.storageVolDelete, { volume, flags: 0 }, options);
  }

  /** Changes a volume's capacity; making it smaller needs `shrink`. */
  async resize(
    volume: Volume,
    capacityBytes: bigint,
    options: CallOptions & { readonly shrink?: boolean } = {},
  ): Promise<void> {
    const args = { volume, capacityBytes, flags: flags([options.shrink, 2]) };
    await this.#caller.call(rows.storageVolResize, args, options);
  }

  /** Kind and size. */
  async info(volume: Volume, options?: CallOptions): Promise<VolumeInfo> {
    const { type, ...size } = await this.#caller.call(rows.storageVolGetInfo, { volume }, options);
    return { kind: KINDS[type] ?? "unknown", ...size };
  }

  /** The description in XML. */
  async xml(volume: Volume, options?: CallOptions): Promise<string> {
    return (await this.#caller.call(rows.storageVolGetXmlDesc, { volume, flags: 0 }, options)).xml;
  }

  /** The path on the daemon's machine. */
  async path(volume: Volume, options?: CallOptions): Promise<string> {
    return (await this.#caller.call(rows.storageVolGetPath, { volume }, options)).path;
  }
}
