/** B4: holds and leases end by themselves on both sides, as soon as anybody leads there who could end them. */
import type { LendRecord } from "@muster/broker";
import type { Checker } from "../checker.ts";
import { allIn } from "../core-words.ts";
import { GRACE_MS } from "../swarm.ts";
import { claim } from "../violation.ts";
import type { World } from "../world.ts";

/** A leader that is well has this long to notice what time has ended. */
const NOTICED_MS = 5_000;

export function leasesEnd(world: World): Checker {
  return {
    onPulse() {
      for (const site of world.sites) {
        const lead = site.bound;
        if (lead === undefined || world.health.wellForMs(site) < NOTICED_MS) continue;
        const nowMs = lead.nowMs() - NOTICED_MS;
        for (const { id, stage, expiresAtMs } of allIn(site.store, "lend")) {
          claim(
            stage !== "held" || nowMs <= expiresAtMs,
            "B4",
            () => `hold ${id} outlives its end at ${site.domain}`,
            id,
          );
          const over = stage === "leased" && nowMs > expiresAtMs + GRACE_MS;
          claim(!over, "B4", () => `lease ${id} outlives its end and grace at ${site.domain}`, id);
        }
        for (const { id, stage, expiresAtMs } of allIn(site.store, "borrow")) {
          const over = stage === "leased" && nowMs > expiresAtMs + GRACE_MS;
          claim(!over, "B4", () => `${site.domain} counts on lease ${id} after its end and grace`, id);
        }
      }
    },
    onCommit(_lead, kept) {
      for (const { key, before, after } of kept) {
        if (!key.startsWith("lend/") || after === undefined) continue;
        const [was, is] = [before as LendRecord | undefined, after as LendRecord];
        if (is.stage === "leased" && was?.stage === "held") world.figures.leased += 1;
      }
    },
  };
}
