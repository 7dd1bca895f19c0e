import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock, systemRng } from "@muster/base";
import { Libvirt, startEmbeddedDaemon } from "node-libvirt";
import { uuid } from "../testing/fixture.ts";
import { hypervisorContract } from "./hypervisor.contract.ts";
import { libvirtHypervisor } from "./libvirt.ts";

hypervisorContract("libvirt over a private libvirtd", async () => {
  const folder = mkdtempSync(join(tmpdir(), "muster-hv-"));
  const daemon = await startEmbeddedDaemon({ stateDir: folder });
  const { socketPath, uri } = daemon;
  const behind = await Libvirt.open({ socketPath, uri });
  return {
    connect: () =>
      libvirtHypervisor({
        clock: systemClock,
        rng: systemRng,
        socketPath,
        uri,
        readMs: 3_000,
        orderMs: 5_000,
      }),
    async addForeign() {
      const id = uuid(1, 9);
      await behind.domains.create(
        `<domain type='test'><name>foreign</name><uuid>${id}</uuid><memory unit='MiB'>256</memory><vcpu>2</vcpu><os><type>hvm</type></os></domain>`,
      );
      return id;
    },
    guestStops: (vm) => behind.domains.destroy({ uuid: vm }),
    async remove() {
      await behind.close();
      await daemon.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
});
