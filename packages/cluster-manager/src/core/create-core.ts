/** The core: takes one event after the other, and answers each with what to store and what to do then. */
import { assertNever } from "@muster/base";
import type { Borrower, Ledger, Lender } from "@muster/broker";
import { borrowerEnv, stepBorrower } from "../dispatch/borrowing.ts";
import { takeLeaseVerb } from "../dispatch/lease-verbs.ts";
import { feedLender, stepLender } from "../dispatch/lending.ts";
import type { ImageEvent } from "../images/image-event.ts";
import { takeImageVerb } from "../images/image-verbs.ts";
import { reviewMoved } from "../inventory/reports.ts";
import { stepLedger, takeReceipts } from "../ledger/keep-ledger.ts";
import { takeMoveAnswer, takeStepAnswer } from "../move/answers.ts";
import { takeBalance } from "../move/balance.ts";
import { driveNews } from "../move/drive.ts";
import { takeVmMove } from "../move/wish.ts";
import type { NetworkEvent } from "../networks/network-event.ts";
import { takeNetworkVerb } from "../networks/network-verbs.ts";
import { takeVmOperation } from "../operations/operation-verbs.ts";
import { type MaintenanceEvent, takeMaintenance } from "../peering/maintenance.ts";
import { takeOffence } from "../peering/peer-conduct.ts";
import { takePeeringAnswer } from "../peering/peering-outbox.ts";
import { takePeeringRequest } from "../peering/peering-requests.ts";
import { takePeeringVerb } from "../peering/peering-verbs.ts";
import { drainQueue } from "../queue/drain.ts";
import { weightsOf } from "../scheduler/scores.ts";
import { driveTunnels, takeTunnelAnswer } from "../tunnels/keep-tunnels.ts";
import type { Core, SitePolicy } from "./core.ts";
import type { CoreEvent } from "./event.ts";
import { takeFromHost } from "./from-host.ts";
import { takeHostVerb } from "./host-verbs.ts";
import { DECISIONS_MAX } from "./limits.ts";
import { RecordLoader } from "./record-loader.ts";
import { takeRequest } from "./request.ts";
import type { ImageUrl, Round } from "./round.ts";
import { Turn } from "./turn.ts";
import { begin, nextDueMs, openPlacing, takeLink, tick } from "./upkeep.ts";
import { createViews } from "./views.ts";
import { takeVmAction, takeVmDelete } from "./vm-verbs.ts";
import { WorkingSet } from "./working-set.ts";

export type CoreParts = {
  readonly policy: SitePolicy;
  readonly lender: Lender;
  readonly borrower: Borrower;
  /** The books with all peers; absent where a site keeps none. */
  readonly ledger?: Ledger | undefined;
  /** Where hosts fetch an image from this site, with the right to do so for a while; absent where it keeps none. */
  readonly imageUrl?: ImageUrl;
  /** Public keys in the site's key file, in order; none where the site has no key that lasts. */
  readonly ownKeys?: () => readonly string[];
};

/**
 * Makes the core of a site. Call `load` with the stored records before the first step, and again whenever a commit failed:
 * the working set is thrown away then, and what hosts and peers said is asked for anew. Throws `CorruptRecordError` naming
 * the key when a stored record is damaged.
 */
export function createCore({ policy, lender, borrower, ledger, imageUrl, ownKeys }: CoreParts): Core {
  const weights = weightsOf(policy.weights);
  const decisions = new Map<string, string>();
  let set = new WorkingSet(policy, ownKeys);
  const world = () => ({ set, policy, weights, lender, borrower, ledger, decisions, imageUrl });
  const loading: Core["loading"] = () => {
    const loader = new RecordLoader(new WorkingSet(policy, ownKeys), { lender, borrower, ledger });
    return {
      take: (key, value) => loader.take(key, value),
      end() {
        set = loader.end();
        decisions.clear();
      },
    };
  };
  return {
    policy,
    load(records) {
      const { take, end } = loading();
      for (const [key, value] of records) take(key, value);
      end();
    },
    loading,
    step(event, env) {
      const turn = new Turn(env);
      set.steps += 1;
      set.steppedAtMs = env.nowMs;
      const round: Round = { ...world(), turn };
      if (set.startedAtMs === undefined) begin(round);
      take(round, event);
      driveNews(round);
      reviewMoved(round);
      openPlacing(round);
      drainQueue(round);
      feedLender(round);
      // The lender's word may have ended or made VMs: what came free goes to those who wait.
      drainQueue(round);
      feedLender(round);
      driveNews(round);
      driveTunnels(round);
      bound(decisions);
      return turn.end();
    },
    nextDueMs: (nowMs) => nextDueMs(world(), nowMs),
    views: createViews(world, (nowMs) => borrowerEnv(world(), nowMs, noIds)),
  };
}

/** Views ask without changing anything: nothing may be named there. */
function noIds(): never {
  throw new Error("a view made an id");
}

function bound(decisions: Map<string, string>): void {
  for (const vm of decisions.keys()) {
    if (decisions.size <= DECISIONS_MAX) return;
    decisions.delete(vm);
  }
}

function take(round: Round, event: CoreEvent): void {
  if (isOfPeers(event)) {
    takeOfPeers(round, event);
    return;
  }
  switch (event.kind) {
    case "request":
      takeRequest(round, event);
      break;
    case "vm-action":
      takeVmAction(round, event);
      break;
    case "vm-operation":
      takeVmOperation(round, event);
      break;
    case "site-balance":
      takeBalance(round, event);
      break;
    case "vm-move":
      takeVmMove(round, event);
      break;
    case "tunnel-answered":
      takeTunnelAnswer(round, event);
      break;
    case "move-answered":
      takeMoveAnswer(round, event);
      break;
    case "vm-delete":
      takeVmDelete(round, event);
      break;
    case "host-add":
    case "host-drain":
    case "host-fence":
    case "host-remove":
      takeHostVerb(round, event);
      break;
    case "lease-decide":
    case "lease-revoke":
      takeLeaseVerb(round, event);
      break;
    case "image-add":
    case "image-change":
    case "image-content":
    case "network-create":
    case "network-delete":
      takeCatalogueVerb(round, event);
      break;
    case "peer-invite":
    case "peer-accept":
    case "peer-change":
    case "peer-policy":
    case "key-rotate":
      takePeeringVerb(round, event);
      break;
    case "host-capacity":
    case "host-unavailable":
    case "host-welcome":
    case "host-underlay":
    case "host-inventory":
    case "host-notices":
    case "host-stale":
    case "command-ended":
      takeFromHost(round, event);
      break;
    case "link":
      takeLink(round, event.online);
      break;
    case "tick":
      tick(round);
      break;
    default:
      assertNever(event);
  }
}

/** Images and networks. */
function takeCatalogueVerb(round: Round, event: ImageEvent | NetworkEvent): void {
  if (event.kind === "network-create" || event.kind === "network-delete") takeNetworkVerb(round, event);
  else takeImageVerb(round, event);
}

function isOfPeers(event: CoreEvent): event is FromPeer | MaintenanceEvent {
  return event.kind === "site-maintenance" || isFromPeer(event);
}

function takeOfPeers(round: Round, event: FromPeer | MaintenanceEvent): void {
  if (event.kind === "site-maintenance") takeMaintenance(round, event);
  else takeFromPeer(round, event);
}

type FromPeer = Extract<
  CoreEvent,
  {
    kind:
      | "peer-request"
      | "peer-answer"
      | "peer-notice"
      | "peering-request"
      | "peering-answer"
      | "peer-offence"
      | "peer-presence";
  }
>;

function isFromPeer(event: CoreEvent): event is FromPeer {
  return event.kind.startsWith("peering-") || FROM_PEER.has(event.kind);
}

const FROM_PEER: ReadonlySet<string> = new Set([
  "peer-request",
  "peer-answer",
  "peer-notice",
  "peer-offence",
  "peer-presence",
]);

function takeFromPeer(round: Round, event: FromPeer): void {
  switch (event.kind) {
    case "peer-request":
      takePeerRequest(round, event);
      break;
    case "peer-answer":
      if (takeStepAnswer(round, event)) break;
      if (round.ledger?.owns(event.call) === true)
        stepLedger(round, { kind: "answer", peer: event.peer, call: event.call, outcome: event.outcome });
      else stepBorrower(round, { kind: "answer", peer: event.peer, call: event.call, outcome: event.outcome });
      break;
    case "peer-notice":
      stepBorrower(round, { kind: "notice", peer: event.peer, notice: event.notice });
      break;
    case "peering-request":
      takePeeringRequest(round, event);
      break;
    case "peering-answer":
      takePeeringAnswer(round, event);
      break;
    case "peer-offence":
      takeOffence(round, event);
      break;
    case "peer-presence":
      stepBorrower(round, { kind: "presence", peer: event.peer, presence: event.presence });
      break;
    default:
      assertNever(event);
  }
}

function takePeerRequest(round: Round, { peer, ticket, request }: Extract<FromPeer, { kind: "peer-request" }>): void {
  if (request.kind === "receipts") takeReceipts(round, { peer, ticket, request });
  else stepLender(round, { kind: "request", peer, ticket, request });
}
