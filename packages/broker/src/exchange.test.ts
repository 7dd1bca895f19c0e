import { describe, expect, it } from "vitest";
import { createBorrower } from "./borrow/borrower.ts";
import type { BorrowerEvent, BorrowerStep } from "./borrow/borrower-contract.ts";
import { borrowerEnv, lenderEnv, PEERING, SPEC, want } from "./broker.fixture.ts";
import { createLender } from "./lend/lender.ts";

describe("a borrower and a lender", () => {
  it("goes from want over hold to lease and back to released", () => {
    const borrower = createBorrower();
    const lender = createLender();
    let nowMs = 100_000;
    const placed: string[] = [];
    const gone: string[] = [];
    const drive = (event: BorrowerEvent): void => {
      const steps: BorrowerStep[] = [borrower.step(event, borrowerEnv({ nowMs }))];
      for (let step = steps.shift(); step !== undefined; step = steps.shift())
        for (const effect of step.effects) {
          if (effect.kind !== "send") continue;
          const { request, call } = effect;
          const answered = lender.step(
            { kind: "request", peer: "alpha.test", ticket: 1, request },
            lenderEnv({ nowMs }),
          );
          for (const reply of answered.effects) {
            if (reply.kind === "place") placed.push(reply.record.id);
            if (reply.kind === "remove") gone.push(reply.record.id);
            if (reply.kind === "answer")
              steps.push(
                borrower.step(
                  { kind: "answer", peer: "beta.test", call, outcome: { kind: "answered", answer: reply.answer } },
                  borrowerEnv({ nowMs }),
                ),
              );
          }
        }
    };
    drive(want());
    const exchange = borrower.exchangeOf(want().vm);
    expect(exchange).toMatchObject({ stage: "leased", peer: PEERING.domain, spec: SPEC, vmPhase: "queued" });
    expect(placed).toEqual([exchange?.id]);
    expect(lender.find("alpha.test", exchange?.id ?? "")).toMatchObject({ stage: "leased" });
    nowMs += 1_000;
    drive({ kind: "release", vm: want().vm, reason: "deleted by its user" });
    expect(gone).toEqual([exchange?.id]);
    expect(borrower.exchangeOf(want().vm)).toMatchObject({ stage: "releasing" });
    lender.step({ kind: "vm-changed", peer: "alpha.test", id: gone[0] ?? "", phase: "deleted" }, lenderEnv({ nowMs }));
    nowMs += 1_000;
    drive({ kind: "tick" });
    expect(borrower.exchangeOf(want().vm)).toBeUndefined();
    expect([...borrower.records()]).toMatchObject([{ stage: "closed", reason: "deleted by its user" }]);
  });
});
