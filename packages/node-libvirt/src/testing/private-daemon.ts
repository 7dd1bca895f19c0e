import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startEmbeddedDaemon } from "../daemon/embedded-daemon.ts";
import type { PrivateDaemon } from "../daemon/private-daemon.ts";

/** A real libvirtd in a temporary folder, which `stop` removes too. */
export async function startPrivateDaemon(): Promise<PrivateDaemon & { readonly stateDir: string }> {
  const stateDir = await mkdtemp(join(tmpdir(), "nlv-"));
  const daemon = await startEmbeddedDaemon({ stateDir, stopTimeoutMs: 1_000 });
  const stop = async () => {
    await daemon.stop();
    await rm(stateDir, { recursive: true, force: true });
  };
  return { ...daemon, stateDir, stop };
}

/** A domain description that libvirt's test driver takes. */
export function testDomainXml(name: string, uuid: string): string {
  const size = "<memory unit='KiB'>65536</memory><vcpu>2</vcpu>";
  return `<domain type='test'><name>${name}</name><uuid>${uuid}</uuid>${size}<os><type>hvm</type></os></domain>`;
}
