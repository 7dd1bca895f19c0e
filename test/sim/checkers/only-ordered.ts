/** H3: a host ends or changes no VM that it was not ordered to, and leaves foreign domains alone. */
import type { Checker } from "../checker.ts";
import { claim } from "../violation.ts";

export function onlyOrdered(): Checker {
  const ordered = new Set<string>();
  return {
    onHostTurn({ host, events }) {
      for (const event of events) {
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
