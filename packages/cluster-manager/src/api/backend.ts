import type { Result } from "@muster/base";
import type {
  ConsoleOrder,
  ConsoleState,
  Enrolment,
  ReachOffer,
  Refusal,
  SerialLogPart,
  SerialLogQuery,
  StepDownView,
} from "@muster/protocol";
import type { ImageKeeper } from "../images/image-keeper.ts";
import type { ImageTickets } from "../images/image-ticket.ts";
import type { LeaderLoop } from "../leadership/leader-loop.ts";
import type { EventRing } from "./event-ring.ts";

/** What the API needs of the manager it speaks for. */
export type Backend = {
  readonly loop: Pick<LeaderLoop, "ask" | "read" | "nowMs">;
  readonly term: number;
  /** Domain of the site, and name of the manager. */
  readonly site: string;
  readonly manager: string;
  /** All records as of one moment, as they are stored. */
  snapshot(): AsyncIterable<readonly [string, string]>;
  /** Records whose key begins with `prefix`, in order of key, as they are stored. */
  scan(prefix: string): AsyncIterable<readonly [string, unknown]>;
  /** Public keys of the site's key file as it was last read. */
  ownKeys(): readonly string[];
  readonly events: EventRing;
  /** Content of images, where this site keeps any, and who may read it. */
  readonly images: { readonly keeper: ImageKeeper; readonly tickets: ImageTickets } | undefined;
  newId(): string;
  /** Reads the site's key file again: the public keys in it, in order. */
  reloadKeys(): Result<readonly string[], string>;
  /** Switches a lost host off by its fence agent, and declares it dead once that is confirmed. */
  fence(host: string): Promise<Result<void, Refusal>>;
  /** Begins to hand the lead over, or says why it cannot. */
  stepDown(): Result<StepDownView, Refusal>;
  /** What keeps this manager from serving, one sentence each; empty when ready. */
  notReady(): Promise<readonly string[]>;
  /** Carries an order of a user at a VM's console to its host. */
  console(host: string, order: ConsoleOrder): Promise<Result<ConsoleState, Refusal>>;
  /** Asks a host for a part of a VM's serial log. */
  readLog(host: string, query: SerialLogQuery): Promise<Result<SerialLogPart, Refusal>>;
  /** Asks the XMPP server for a single-use token of this host's account; without a lifetime, it has the configured one. */
  /** What the token of an invitation says of the account as which the invited site is to come, made for it now. */
  partnerReach(domain: string, ttlSeconds: number): Promise<Result<ReachOffer, Refusal>>;
  enrolmentOf(host: string, ttlSeconds: number | undefined): Promise<Result<Enrolment, Refusal>>;
};

/** How long the API waits for the core before it answers `unavailable`. */
export const ANSWER_WITHIN_MS = 10_000;
