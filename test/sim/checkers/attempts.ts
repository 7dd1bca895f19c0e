/** H5: an attempt is started at most once, on one host; one that was answered void never starts. */
import type { Checker } from "../checker.ts";
import { claim } from "../violation.ts";

export function attempts(): Checker {
  const startedOn = new Map<string, string>();
  const voided = new Set<string>();
  const asked = new Map<string, { readonly vm: string; readonly attempt: number }>();
  return {
    onHostTurn({ host, events }) {
      for (const event of events)
        if (event.kind === "move" && event.move.step === "abandon")
          asked.set(`${host.address} ${host.startedAtMs} ${event.ticket}`, event.move);
    },
    onHostEffect(host, effect) {
      if (effect.kind === "answer" && effect.answer.kind === "moved" && effect.answer.state.stage === "abandoned") {
        const given = asked.get(`${host.address} ${host.startedAtMs} ${effect.ticket}`);
        if (given !== undefined) voided.add(`${host.address} ${given.vm} ${given.attempt}`);
      }
      if (effect.kind === "answer" && effect.answer.kind === "outcome") {
        const { vm, attempt, state } = effect.answer.outcome;
        if (state === "void") voided.add(`${host.address} ${vm} ${attempt}`);
      }
      if (effect.kind !== "notify") return;
      for (const { vm, attempt, state } of effect.notices.notices)
        if (state === "void" || state === "failed" || state === "gone") voided.add(`${host.address} ${vm} ${attempt}`);
    },
    onDomain(host, { kind, vm, domain }) {
      if (kind !== "made" || domain.plan === undefined) return;
      const { attempt } = domain.plan;
      claim(
        !voided.has(`${host.address} ${vm} ${attempt}`),
        "H5",
        () => `attempt ${attempt} of ${vm} was over on ${host.address} and starts`,
        vm,
      );
      const key = `${host.site.domain} ${vm} ${attempt}`;
      const before = startedOn.get(key);
      claim(
        before === undefined,
        "H5",
        () => `attempt ${attempt} of ${vm} starts on ${host.address}, and did on ${before}`,
        vm,
      );
      startedOn.set(key, host.address);
    },
  };
}
