/** H2: a command id has one answer and one effect. */
import { type Command, digestOf } from "@muster/protocol";
import type { Checker } from "../checker.ts";
import type { HostNode } from "../host-node.ts";
import { claim } from "../violation.ts";

export function oneAnswer(): Checker {
  const answers = new Map<string, string>();
  const asked = new Map<HostNode, Map<number, Command>>();
  const reboots = new Set<string>();
  return {
    onDomain(host, { cause, command, vm }) {
      if (cause !== "reboot") return;
      claim(!reboots.has(command), "H2", () => `${host.address} reboots ${vm} twice for command ${command}`, vm);
      reboots.add(command);
    },
    onHostTurn({ host, events }) {
      for (const event of events) {
        if (event.kind !== "command") continue;
        const tickets = asked.get(host) ?? new Map<number, Command>();
        asked.set(host, tickets.set(event.ticket, event.command));
      }
    },
    onHostEffect(host, effect) {
      if (effect.kind !== "answer") return;
      const command = asked.get(host)?.get(effect.ticket);
      asked.get(host)?.delete(effect.ticket);
      if (command === undefined) return;
      const { answer } = effect;
      // Neither settles anything: the same id may be answered otherwise later.
      if (answer.kind === "refused" && ["stale-term", "unavailable"].includes(answer.refusal.kind)) return;
      const { lease: _, ...content } = command;
      const key = `${host.address} ${command.id} ${digestOf({ ...content, term: 0 })}`;
      const text = JSON.stringify(answer);
      const before = answers.get(key);
      claim(
        before === undefined || before === text,
        "H2",
        () => `${key} is answered ${before}, then ${text}`,
        command.vm,
      );
      answers.set(key, text);
    },
  };
}
