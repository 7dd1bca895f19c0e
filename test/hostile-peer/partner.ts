/**
 * A partner of the tests' own: it links as `cloud.<its site>` at its site's server and speaks the protocol by hand, with the
 * site's real key, so that it can lie in every way in which a peer with a valid peering can.
 */
import { createHash, randomUUID, sign } from "node:crypto";
import { type SiteKey, signBurst } from "@muster/broker";
import {
  canonicalText,
  type Hold,
  heldMessage,
  holdMessage,
  type LeaseState,
  leasedMessage,
  offerMessage,
  type Receipt,
  type Refusal,
  receiptsMessage,
  refusalMessage,
  releasedMessage,
  renewedMessage,
  type VmSpec,
} from "@muster/protocol";
import { Element, parse } from "ltx";
import { linkComponent, type RawStream } from "../../packages/xmpp-server/src/testing/raw-stream.ts";

const STANZA = /<(iq|message|presence)\b(?:[^>]*\/>|[^>]*[^/]>.*?<\/\1>|>.*?<\/\1>)/s;
const ANSWER_WITHIN_MS = 8_000;
const NS_STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas";

export const SPEC: VmSpec = { image: "debian-12", vcpus: 1, memoryMiB: 512, diskGiB: 5, gpus: 0, labels: {} };

/** What came back: the payload of a result, or the condition of an error with our refusal in it. */
export type Answered =
  | { readonly kind: "result"; readonly payload: Element | undefined; readonly text: string }
  | {
      readonly kind: "error";
      readonly condition: string;
      readonly refusal: Refusal | undefined;
      readonly text: string;
    }
  | { readonly kind: "silence" };

/** Answers a question of the victim: the payload, unsigned; `undefined`: says nothing at all. */
export type Manners = (question: Element) => Element | undefined;

export type PartnerSite = {
  readonly domain: string;
  readonly address: string;
  readonly secret: string;
  readonly key: SiteKey;
};

export class Partner {
  readonly site: PartnerSite;
  readonly victim: string;
  /** Everything that the victim asked, by name. */
  readonly asked: Element[] = [];
  manners: Manners = () => undefined;
  #stream: RawStream;
  #over = false;
  readonly #waiting = new Map<string, (answer: Answered) => void>();

  private constructor(stream: RawStream, site: PartnerSite, victim: string) {
    this.#stream = stream;
    this.site = site;
    this.victim = victim;
    void this.#listen();
  }

  /** Takes the link of the site's component from whoever has it, and again whenever it is cut. */
  static async link(site: PartnerSite, victim: string): Promise<Partner> {
    return new Partner(await linked(site), site, victim);
  }

  get cloud(): string {
    return `cloud.${this.site.domain}`;
  }

  /** Signs a message as the site would, or between other sites, or with another key. */
  signed(payload: Element, more: { from?: string; to?: string; key?: SiteKey; question?: Element } = {}) {
    const { from = this.site.domain, to = this.victim, key = this.site.key, question } = more;
    return signBurst(payload, { from, to, question }, key);
  }

  /** Sends the payload just as it is; `from` claims to be somebody else. */
  ask(payload: Element, type: "get" | "set" = "set", from = this.cloud): Promise<Answered> {
    const id = randomUUID();
    const iq = new Element("iq", { type, id, from, to: `cloud.${this.victim}` });
    iq.append(payload);
    return new Promise((resolve) => {
      const timer = setTimeout(() => done({ kind: "silence" }), ANSWER_WITHIN_MS);
      const done = (answer: Answered): void => {
        clearTimeout(timer);
        this.#waiting.delete(id);
        resolve(answer);
      };
      this.#waiting.set(id, done);
      this.#stream.send(iq.toString());
    });
  }

  /** Asks as an honest peer would. */
  async say(payload: Element, type: "get" | "set" = "set"): Promise<Answered> {
    return this.ask(await this.signed(payload), type);
  }

  close(): void {
    this.#over = true;
    this.#stream.close();
  }

  async #listen(): Promise<void> {
    while (!this.#over) {
      if (this.#stream.closed) this.#stream = (await linked(this.site).catch(() => undefined)) ?? this.#stream;
      const match = await this.#stream.until(STANZA, 60_000).catch(() => undefined);
      if (match !== undefined) await this.#take(parse(match[0]));
    }
  }

  async #take(stanza: Element): Promise<void> {
    if (stanza.name !== "iq") return;
    const { type = "", id = "", from = "" } = stanza.attrs;
    if (type === "result" || type === "error") {
      this.#waiting.get(id)?.(answerOf(stanza));
      return;
    }
    const [question] = stanza.getChildElements();
    if (question === undefined) return;
    this.asked.push(question);
    const answer = this.manners(question);
    if (answer === undefined) return;
    const sealed = await this.signed(answer, { question: unsigned(question) });
    const iq = new Element("iq", { type: "result", id, from: this.cloud, to: from });
    iq.append(sealed);
    this.#stream.send(iq.toString());
  }
}

function linked({ address, domain, secret }: PartnerSite): Promise<RawStream> {
  return linkComponent({ address, port: 5347 }, `cloud.${domain}`, secret);
}

function answerOf(iq: Element): Answered {
  const text = iq.toString();
  if (iq.attrs.type === "result") return { kind: "result", payload: iq.getChildElements()[0], text };
  const error = iq.getChild("error");
  const condition = error?.getChildElements().find((child) => child.getNS() === NS_STANZAS)?.name ?? "";
  const application = error?.getChildElements().find((child) => child.getNS() !== NS_STANZAS);
  const decoded = application === undefined ? undefined : refusalMessage.decode(application);
  return { kind: "error", condition, refusal: decoded?.ok === true ? decoded.value : undefined, text };
}

function unsigned(question: Element): Element {
  const copy = parse(question.toString());
  for (const child of copy.getChildElements()) if (child.name === "signature") copy.remove(child);
  return copy;
}

/** A hold with the digest of its content, as the specification makes it. */
export function hold(part: Partial<Hold> = {}): Hold {
  const content = {
    ...{ id: randomUUID(), vm: vmId(), name: "guest", project: "p", owner: "o" },
    ...{ spec: SPEC, leaseMs: 60_000, hops: 1 },
    ...part,
  };
  const { id, vm, name, project, owner, spec, leaseMs, hops } = content;
  const said = canonicalText({ id, vm, name, project, owner, spec, leaseMs, hops });
  const digest = createHash("sha256").update(said).digest("hex");
  return { term: 1_000, holdMs: 30_000, ...content, digest };
}

/** A UUID of version 7. */
export function vmId(): string {
  const [first = "", second = "", third = "", ...rest] = randomUUID().split("-");
  return [first, second, `7${third.slice(1)}`, ...rest].join("-");
}

export const encodeHold = (part: Partial<Hold> = {}): Element => holdMessage.encode(hold(part));

/** A receipt signed by hand, alone in its message. */
export function receiptSaid(receipt: Receipt, key: SiteKey): Element {
  const text = canonicalText({ type: "urn:muster:receipt:1", receipt });
  const [header, payload] = [JSON.stringify({ alg: "EdDSA" }), text].map((part) =>
    Buffer.from(part).toString("base64url"),
  );
  const signature = sign(null, Buffer.from(`${header}.${payload}`), key.privateKey).toString("base64url");
  return receiptsMessage.encode({ receipts: [{ receipt, proof: `${header}..${signature}` }] });
}

/** A lender that grants whatever is asked and says of every VM what `vm` says. */
export function lender(vm: () => LeaseState["vm"], offers: () => boolean = () => true): Manners {
  let revision = 0;
  const stateOf = (id: string, stage: LeaseState["stage"]): LeaseState => {
    revision += 1;
    const said = stage === "leased" ? vm() : undefined;
    return {
      id,
      revision,
      stage,
      remainingMs: stage === "leased" ? 60_000 : 0,
      ...(said === undefined ? {} : { vm: said }),
    };
  };
  const room = { vcpus: 512, memoryMiB: 1_048_576, diskGiB: 50_000, gpus: 0 };
  return (question) => {
    const { id = "" } = question.attrs;
    switch (question.name) {
      case "offer-query":
        return offerMessage.encode({
          ...{ accepting: offers(), free: room, largest: room, leaseMsMax: 3_600_000 },
          ...{ images: ["debian-12"], revision, agent: "other" },
        });
      case "hold":
        return heldMessage.encode({ id, remainingMs: 30_000, leaseMsMax: 3_600_000 });
      case "lease":
        return leasedMessage.encode({ state: stateOf(id, "leased") });
      case "renew":
        return renewedMessage.encode({
          leases: question.getChildren("lease").map(({ attrs }) => {
            const lease = attrs.id ?? "";
            return { id: lease, state: stateOf(lease, "leased") };
          }),
        });
      case "release":
        return releasedMessage.encode({ state: stateOf(id, "released") });
      default:
        return undefined;
    }
  };
}
