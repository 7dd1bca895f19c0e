/**
 * Entry point of the cluster manager: `main.ts --config FILE`.
 * Exit codes: 0 stopped as told, 1 failed, 2 usage or configuration, 3 deposed: another manager leads.
 */
import { Shutdown, systemClock, systemRng } from "@muster/base";
import { pino } from "pino";
import { ManagerProcess } from "./manager-process.ts";
import { EXIT } from "./process-exit.ts";
import { readSettings } from "./settings.ts";

process.exitCode = await main(process.argv.slice(2));
// What hangs, a store on a dead disk for instance, must not keep a manager alive that leads no more.
process.exit();

async function main(args: readonly string[]): Promise<number> {
  const settings = readSettings(args);
  if (!settings.ok) {
    process.stderr.write(`${settings.error}\n`);
    return EXIT.configuration;
  }
  const { site, name, logLevel } = settings.value.config;
  const log = pino({
    level: logLevel,
    base: { site, manager: name },
    timestamp: pino.stdTimeFunctions.isoTime,
    // Nothing of ours logs these; whoever adds a log line of a request must not log its token either (S3).
    redact: ["*.authorization", "*.headers.authorization", "*.token", "*.secret", "*.password"],
  });
  const shutdown = new Shutdown(systemClock);
  const manager = new ManagerProcess({ settings: settings.value, clock: systemClock, rng: systemRng, log, shutdown });
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      log.info({ signal }, "stopping; VMs are left as they are");
      manager.stop();
    });
  }
  try {
    return await manager.run();
  } catch (cause) {
    log.fatal({ error: cause instanceof Error ? cause.stack : String(cause) }, "cannot go on");
    return EXIT.failed;
  } finally {
    const { late, failed } = await shutdown.run();
    if (late.length + failed.length > 0) log.warn({ late, failed }, "not everything closed");
    log.info({}, "stopped");
  }
}
