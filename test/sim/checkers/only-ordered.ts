/** H3: a host ends or changes no VM that it was not ordered to, and leaves foreign domains alone. */
import type { Checker } from "../checker.ts";
import { claim } from "../violation.ts";

export function onlyOrdered(): Checker {
  const ordered = new Set<string>();
  return {
    onHostTurn({ host, events }) {
      for (const event of events) {
        if (event.kind === "move")
          ordered.add(`${host.address} move-${event.move.step} ${event.move.vm} ${event.move.id}`);
        if (event.kind !== "command") continue;
        const { action, vm, attempt } = event.command;
        ordered.add(`${host.address} ${action} ${vm} ${attempt}`);
      }
    },
    onDomain(host, { cause, command, vm, domain }) {
      if (cause === "power" || cause === "guest") return;
      // Ordered with the start, for when the lease is over: `ended-by-hosts` sees that it is.
      if (cause === "stop" && command === domain.plan?.subject.lease) return;
      claim(domain.plan !== undefined, "H3", () => `${host.address} touches the foreign domain ${vm}`, vm);
      if (cause === "move-orphaned") return;
      if (cause.startsWith("move-")) {
        const step = ordered.has(`${host.address} ${cause} ${vm} ${command}`);
        // A delete of what a move has only prepared gives it up.
        const deleted = cause === "move-abandon" && ordered.has(`${host.address} delete ${vm} ${domain.plan?.attempt}`);
        // So does the end of its lease, which was ordered with it.
        const over = cause === "move-abandon" && domain.plan?.subject.lease !== undefined;
        claim(
          step || deleted || over || command === "",
          "H3",
          () => `${host.address}: ${cause} of ${vm} was not ordered`,
          vm,
        );
        return;
      }
      // A delete is only ordered of what is over for good: it ends a part that its leader has given up.
      claim(
        domain.moving === undefined || cause === "delete",
        "P1",
        () => `${host.address}: ${cause} of ${vm}, which is ${domain.moving?.role} in a move`,
        vm,
      );
      const attempt = domain.plan?.attempt;
      claim(
        ordered.has(`${host.address} ${cause} ${vm} ${attempt}`),
        "H3",
        () => `${host.address}: ${cause} of ${vm} was not ordered`,
        vm,
      );
    },
  };
}
