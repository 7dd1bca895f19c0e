/** What comes from hosts of the site: reports, answers, signs of life. */
import { assertNever } from "@muster/base";
import { endCommand } from "../dispatch/answers.ts";
import { askHost, challenge, hear, takeCapacity, takeUnavailable, takeWelcome } from "../inventory/presence.ts";
import { takeInventory, takeNotices } from "../inventory/reports.ts";
import { takeUnderlayTaken } from "../networks/underlay.ts";
import type { CoreEvent } from "./event.ts";
import { letIn, noteStale } from "./restored.ts";
import type { Round } from "./round.ts";

type HostEvent = Extract<
  CoreEvent,
  {
    kind:
      | "host-capacity"
      | "host-unavailable"
      | "host-welcome"
      | "host-underlay"
      | "host-inventory"
      | "host-notices"
      | "host-stale"
      | "command-ended";
  }
>;

/** What comes from hosts. One that is not enrolled, or was removed, says nothing that counts. */
export function takeFromHost(round: Round, event: HostEvent): void {
  const host = round.set.hosts.get(event.host) ?? letIn(round, event.host);
  if (host === undefined) {
    if (event.kind === "host-notices")
      round.turn.answer(event.ticket, {
        kind: "refused",
        refusal: { kind: "forbidden", reason: "not-enrolled", message: `${event.host} is not enrolled at this site` },
      });
    return;
  }
  switch (event.kind) {
    case "host-capacity":
      takeCapacity(round, host, event.capacity);
      break;
    case "host-unavailable":
      takeUnavailable(round, host);
      break;
    case "host-welcome":
      takeWelcome(round, host, event.welcome);
      break;
    case "host-underlay":
      takeUnderlayTaken(host, event.generation);
      break;
    case "host-stale":
      noteStale(round, host);
      break;
    case "host-inventory":
      hear(round, host);
      if (event.bootId === host.bootId) takeInventory(round, host, event);
      else challenge(host);
      break;
    case "host-notices": {
      hear(round, host);
      const sequence = takeNotices(round, host, event.bootId, event.notices);
      round.turn.answer(event.ticket, { kind: "notices-taken", sequence });
      break;
    }
    case "command-ended":
      if (event.end.kind === "outcome") hear(round, host);
      endCommand(round, host, event.command, event.end);
      break;
    default:
      assertNever(event);
  }
  askHost(round, host);
}
