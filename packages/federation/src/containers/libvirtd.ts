/**
 * A host's libvirtd as a container: `libvirtd.ts --state DIR`, with libvirt's test driver, on `DIR/run/libvirt-sock`.
 * It is more than libvirtd itself, for the test driver forgets all VMs with its last client, and a host manager that is
 * started again must find them. Exit codes: 0 stopped as told, 1 failed, 2 usage.
 */
import { parseArgs } from "node:util";
import { startEmbeddedDaemon } from "node-libvirt";

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  const stateDir = readState(args);
  if (stateDir === undefined) {
    process.stderr.write("usage: libvirtd.ts --state DIR\n");
    return 2;
  }
  const told = Promise.withResolvers<"told">();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => told.resolve("told"));
  try {
    const daemon = await startEmbeddedDaemon({ stateDir });
    const end = await Promise.race([told.promise, daemon.exited]);
    if (end !== "told") process.stderr.write(`libvirtd ended by itself; it wrote: ${daemon.log()}\n`);
    await daemon.stop();
    return end === "told" ? 0 : 1;
  } catch (cause) {
    process.stderr.write(`${cause instanceof Error ? cause.message : String(cause)}\n`);
    return 1;
  }
}

function readState(args: readonly string[]): string | undefined {
  try {
    return parseArgs({ args: [...args], options: { state: { type: "string" } } }).values.state;
  } catch {
    return undefined;
  }
}
