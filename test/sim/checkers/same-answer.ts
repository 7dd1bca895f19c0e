/** B1: the same id with the same content has the same answer; with another content it is a conflict. */
import { canonicalText } from "@muster/protocol";
import type { Checker } from "../checker.ts";
import { claim } from "../violation.ts";

/** Refusals that settle nothing: the same may be answered otherwise later. */
const PASSING = ["unavailable", "stale-term", "forbidden", "bad-request"];
const AWAITING = "awaiting-approval";

export function sameAnswer(): Checker {
  const requests = new Map<string, { readonly content: string; readonly vms: string }>();
  const holds = new Map<string, "held" | "refused">();
  return {
    onUserAnswer(site, requestId, create, answer) {
      const key = `${site} ${requestId}`;
      const content = canonicalText(create);
      const known = requests.get(key);
      if (answer.kind !== "request") {
        const conflict = answer.kind === "refused" && answer.refusal.kind === "conflict";
        if (known?.content === content)
          claim(false, "B1", () => `${requestId} was accepted, now ${JSON.stringify(answer)}`, requestId);
        else if (known !== undefined) claim(conflict, "B1", () => `${requestId} stands for two contents`, requestId);
        return;
      }
      const vms = answer.vms.join(" ");
      claim(
        known === undefined || known.content === content,
        "B1",
        () => `${requestId} is taken for two contents`,
        requestId,
      );
      claim(
        known === undefined || known.vms === vms,
        "B1",
        () => `${requestId} makes ${known?.vms}, then ${vms}`,
        requestId,
      );
      requests.set(key, { content, vms });
    },
    onEffect(lead, effect, cause) {
      if (effect.kind !== "answer" || cause?.kind !== "peer-request" || cause.request.kind !== "hold") return;
      const { id, digest } = cause.request.body;
      const { answer } = effect;
      if (answer.kind === "refused" && PASSING.includes(answer.refusal.kind)) return;
      if (answer.kind === "refused" && answer.refusal.reason === AWAITING) return;
      const key = `${lead.site.domain} ${cause.peer} ${id} ${digest}`;
      const is = answer.kind === "burst" ? "held" : "refused";
      const was = holds.get(key);
      claim(was !== "refused" || is === "refused", "B1", () => `hold ${id} was refused, now it is held`, id);
      if (was === "held" && answer.kind === "refused")
        claim(
          answer.refusal.reason === "exchange-over",
          "B1",
          () => `hold ${id} was held, now ${answer.refusal.reason}`,
          id,
        );
      holds.set(key, was === "held" ? "held" : is);
    },
  };
}
