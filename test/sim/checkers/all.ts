/** Every invariant that the simulator checks, one file each. */
import type { MakeChecker } from "../checker.ts";
import { answersGuarded } from "./answers-guarded.ts";
import { attempts } from "./attempts.ts";
import { booksAgree } from "./books-agree.ts";
import { endedByHosts } from "./ended-by-hosts.ts";
import { explained } from "./explained.ts";
import { hostAdmission } from "./host-admission.ts";
import { hostTerms } from "./host-terms.ts";
import { hostsHeardFirst } from "./hosts-heard-first.ts";
import { keysInForce } from "./keys-in-force.ts";
import { leadership } from "./leadership.ts";
import { leasesEnd } from "./leases-end.ts";
import { lenderMaster } from "./lender-master.ts";
import { moves } from "./moves.ts";
import { noNamesTold } from "./no-names-told.ts";
import { noOrphans } from "./no-orphans.ts";
import { noneForgotten } from "./none-forgotten.ts";
import { noticesKept } from "./notices-kept.ts";
import { oneAnswer } from "./one-answer.ts";
import { oneExchange } from "./one-exchange.ts";
import { oneOperation } from "./one-operation.ts";
import { onePlace } from "./one-place.ts";
import { onlyOrdered } from "./only-ordered.ts";
import { ownersOnly } from "./owners-only.ts";
import { promisedRoom } from "./promised-room.ts";
import { sameAnswer } from "./same-answer.ts";
import { storedFirst } from "./stored-first.ts";
import { tombstones } from "./tombstones.ts";

export const ALL_CHECKERS: readonly MakeChecker[] = [
  leadership,
  answersGuarded,
  storedFirst,
  hostsHeardFirst,
  hostTerms,
  oneAnswer,
  onlyOrdered,
  noticesKept,
  hostAdmission,
  attempts,
  onePlace,
  moves,
  promisedRoom,
  noneForgotten,
  explained,
  sameAnswer,
  oneExchange,
  tombstones,
  leasesEnd,
  endedByHosts,
  ownersOnly,
  noNamesTold,
  noOrphans,
  oneOperation,
  lenderMaster,
  keysInForce,
  booksAgree,
];
