import { Element } from "ltx";
import type { Bus, IncomingIq, IqAnswer, Unsubscribe } from "./bus.ts";
import { type StanzaFault, stanzaFault } from "./stanza-fault.ts";

const NS_DISCO_INFO = "http://jabber.org/protocol/disco#info";
const NS_DISCO_ITEMS = "http://jabber.org/protocol/disco#items";
const NS_VERSION = "jabber:iq:version";
const NS_PING = "urn:xmpp:ping";

export type DiscoIdentity = { readonly category: string; readonly type: string; readonly name: string };
export type DiscoInfo = { readonly identities: readonly DiscoIdentity[]; readonly features: readonly string[] };
export type DiscoItem = { readonly address: string; readonly node?: string; readonly name?: string };

/** Who asks about what: `to` may be any address at a component, `node` a part of it. */
export type DiscoQuery = { readonly from: string; readonly to: string; readonly node: string | undefined };

/** Part of the tree below our addresses; `undefined` leaves the query to the next part, or to the default. */
export type DiscoPart = {
  readonly features?: readonly string[];
  readonly info?: (query: DiscoQuery) => DiscoInfo | undefined;
  readonly items?: (query: DiscoQuery) => readonly DiscoItem[] | undefined;
};

export type Services = {
  /** Service discovery (XEP-0030). The features of the other services are added. */
  readonly disco?: {
    readonly identities: readonly DiscoIdentity[];
    readonly features: readonly string[];
    readonly parts?: readonly DiscoPart[];
  };
  /** Software version (XEP-0092). */
  readonly version?: { readonly name: string; readonly version: string; readonly os?: string };
  /** Ping (XEP-0199). */
  readonly ping?: true;
};

/** More items than this and a stanza overflows: name what is left out by another node (S2). */
const ITEMS_MAX = 200;

/** Answers what every XMPP entity is asked, as far as it is wanted. */
export function serve(bus: Pick<Bus, "handle">, services: Services): Unsubscribe {
  const undo: Unsubscribe[] = [];
  const { disco, version, ping } = services;
  if (ping === true) undo.push(bus.handle("get", NS_PING, "ping", () => ({ kind: "result" })));
  if (version !== undefined) undo.push(bus.handle("get", NS_VERSION, "query", () => versionAnswer(version)));
  if (disco !== undefined) {
    const own: DiscoInfo = { identities: disco.identities, features: featuresOf(services) };
    const parts = disco.parts ?? [];
    undo.push(
      bus.handle("get", NS_DISCO_INFO, "query", (iq) => infoAnswer(queryOf(iq), own, parts)),
      bus.handle("get", NS_DISCO_ITEMS, "query", (iq) => itemsAnswer(queryOf(iq), parts)),
    );
  }
  return () => {
    for (const each of undo.splice(0)) each();
  };
}

function featuresOf({ disco, version, ping }: Services): readonly string[] {
  const features = [NS_DISCO_INFO, NS_DISCO_ITEMS, ...(disco?.features ?? [])];
  for (const part of disco?.parts ?? []) features.push(...(part.features ?? []));
  if (version !== undefined) features.push(NS_VERSION);
  if (ping === true) features.push(NS_PING);
  return [...new Set(features)].sort();
}

function queryOf(iq: IncomingIq): DiscoQuery {
  return { from: iq.from, to: iq.to, node: iq.payload.attrs.node || undefined };
}

function infoAnswer(query: DiscoQuery, own: DiscoInfo, parts: readonly DiscoPart[]): IqAnswer {
  const info = firstOf(parts, (part) => part.info?.(query)) ?? (query.node === undefined ? own : undefined);
  if (info === undefined) return refuse(unknownNode(query));
  const payload = payloadFor(NS_DISCO_INFO, query);
  for (const { category, type, name } of info.identities) payload.c("identity", { category, type, name });
  for (const feature of info.features) payload.c("feature", { var: feature });
  return { kind: "result", payload };
}

function itemsAnswer(query: DiscoQuery, parts: readonly DiscoPart[]): IqAnswer {
  const items = firstOf(parts, (part) => part.items?.(query)) ?? (query.node === undefined ? [] : undefined);
  if (items === undefined) return refuse(unknownNode(query));
  const payload = payloadFor(NS_DISCO_ITEMS, query);
  for (const { address, node, name } of items.slice(0, ITEMS_MAX)) payload.c("item", { jid: address, node, name });
  return { kind: "result", payload };
}

function versionAnswer({ name, version, os }: NonNullable<Services["version"]>): IqAnswer {
  const payload = new Element("query", NS_VERSION);
  payload.c("name").t(name);
  payload.c("version").t(version);
  if (os !== undefined) payload.c("os").t(os);
  return { kind: "result", payload };
}

function payloadFor(namespace: string, { node }: DiscoQuery): Element {
  return new Element("query", { xmlns: namespace, node });
}

function unknownNode({ node }: DiscoQuery): StanzaFault {
  return stanzaFault("item-not-found", `There is no node ${(node ?? "").slice(0, 100)}.`);
}

function refuse(fault: StanzaFault): IqAnswer {
  return { kind: "error", fault };
}

function firstOf<Value>(parts: readonly DiscoPart[], ask: (part: DiscoPart) => Value | undefined): Value | undefined {
  for (const part of parts) {
    const answer = ask(part);
    if (answer !== undefined) return answer;
  }
  return undefined;
}
