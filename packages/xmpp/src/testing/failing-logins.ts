/** Run by a test: logs in with a wrong password, many times, and ends with 0 unless something kills the process. */
import { systemClock, systemRng } from "@muster/base";
import { xmppClientBus } from "../client-bus.ts";
import { until } from "./until.ts";

const [service = ""] = process.argv.slice(2);
let refused = 0;
for (let round = 0; round < 12; round++) {
  const bus = xmppClientBus({
    clock: systemClock,
    rng: systemRng,
    service,
    domain: "alpha.test",
    username: "ann",
    password: "wrong",
    resource: "early",
    caPem: process.env.CA_PEM ?? "",
  });
  bus.start();
  await until("refused", () => bus.status.kind === "refused");
  refused += 1;
  await bus.stop();
}
process.stdout.write(`${refused} refused\n`);
