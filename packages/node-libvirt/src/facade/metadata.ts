import type { Caller } from "../client/caller.ts";
import type { CallOptions } from "../connection/connection.ts";
import { ErrorCode } from "../fault.ts";
import { domainProcedures as rows } from "../table/domain.ts";
import { type DomainRef, flags, orAbsent, wireDomain } from "./wire.ts";

const KIND = { description: 0, title: 1, element: 2 } as const;

/** Which copies a change or a question is about; without any, the running one's where it runs, else the definition. */
export interface Affects extends CallOptions {
  /** The running domain. */
  readonly live?: boolean;
  /** The definition. */
  readonly config?: boolean;
}

/** An application's own element inside a domain's description. */
export interface MetadataElement {
  /** Namespace that tells whose element it is; one element per namespace. */
  readonly uri: string;
  /** Prefix that libvirt writes before the element's name. */
  readonly prefix: string;
  /** The element, without prefix, such as `<vm id="1"/>`. */
  readonly xml: string;
}

/** What libvirt keeps with a domain without acting on it (`virDomainSetMetadata`). */
export class Metadata {
  readonly #caller: Caller;

  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /** The element of a namespace as XML, or undefined where the domain has none. */
  async get(ref: DomainRef, uri: string, options: Affects = {}): Promise<string | undefined> {
    return this.#get(ref, KIND.element, uri, options);
  }

  /** Puts an element in place of the one of the same namespace. */
  async set(ref: DomainRef, element: MetadataElement, options: Affects = {}): Promise<void> {
    const { uri, prefix, xml } = element;
    await this.#set(ref, { type: KIND.element, metadata: xml, key: prefix, uri }, options);
  }

  /** Takes the element of a namespace away. */
  async remove(ref: DomainRef, uri: string, options: Affects = {}): Promise<void> {
    await this.#set(ref, { type: KIND.element, metadata: null, key: null, uri }, options);
  }

  /** The short title, or undefined. */
  async title(ref: DomainRef, options: Affects = {}): Promise<string | undefined> {
    return this.#get(ref, KIND.title, null, options);
  }

  /** Sets the short title, one line; undefined takes it away. */
  async setTitle(ref: DomainRef, title: string | undefined, options: Affects = {}): Promise<void> {
    await this.#set(ref, { type: KIND.title, metadata: title ?? null, key: null, uri: null }, options);
  }

  /** The long description, or undefined. */
  async description(ref: DomainRef, options: Affects = {}): Promise<string | undefined> {
    return this.#get(ref, KIND.description, null, options);
  }

  /** Sets the long description; undefined takes it away. */
  async setDescription(ref: DomainRef, text: string | undefined, options: Affects = {}): Promise<void> {
    await this.#set(ref, { type: KIND.description, metadata: text ?? null, key: null, uri: null }, options);
  }

  async #get(ref: DomainRef, type: number, uri: string | null, options: Affects): Promise<string | undefined> {
    const args = { domain: wireDomain(ref), type, uri, flags: affects(options) };
    const answer = this.#caller.call(rows.domainGetMetadata, args, options);
    return (await orAbsent(answer, ErrorCode.noDomainMetadata))?.metadata;
  }

  async #set(
    ref: DomainRef,
    what: { type: number; metadata: string | null; key: string | null; uri: string | null },
    options: Affects,
  ): Promise<void> {
    const args = { domain: wireDomain(ref), ...what, flags: affects(options) };
    await this.#caller.call(rows.domainSetMetadata, args, { ...options, order: ref.uuid });
  }
}

/** `virDomainModificationImpact`: bit 0 the running domain, bit 1 its definition. */
export function affects(options: Affects): number {
  return flags([options.live, 0], [options.config, 1]);
}
