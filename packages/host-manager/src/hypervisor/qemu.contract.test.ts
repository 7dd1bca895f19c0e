import { afterAll, beforeAll, describe } from "vitest";
import { uuid } from "../testing/fixture.ts";
import { QemuMachine, whyNoQemu } from "../testing/qemu-machine.ts";
import { hypervisorContract } from "./hypervisor.contract.ts";

describe.runIf(whyNoQemu() === undefined)("over a private libvirtd that drives QEMU", () => {
  let machine: QemuMachine;

  beforeAll(async () => {
    machine = await QemuMachine.start();
  }, 90_000);
  afterAll(() => machine.remove());

  /** One daemon for all: a test leaves it as it found it. */
  const on = {
    async addForeign() {
      const id = uuid(1, 9);
      await machine.behind.domains.create(
        `<domain type='qemu'><name>foreign</name><uuid>${id}</uuid><memory unit='MiB'>32</memory><vcpu>2</vcpu><os><type>hvm</type></os></domain>`,
      );
      return id;
    },
    guestStops: (vm: string) => machine.behind.domains.destroy({ uuid: vm }),
    async remove() {
      for (const domain of await machine.behind.domains.list({ active: true }))
        await machine.behind.domains.destroy(domain);
      for (const domain of await machine.behind.domains.list()) await machine.behind.domains.undefine(domain);
    },
  };

  hypervisorContract("QEMU, guests from an image", async () => ({
    ...on,
    connect: () => machine.connect(),
    plan: (number, attempt) => machine.plan(number, attempt),
    shown: ({ vm, attempt, subject }) => {
      const { userData: _, ...spec } = subject.spec;
      const guest = subject.guest && { ...subject.guest, image: { ...subject.guest.image, urls: [] } };
      return { vm, attempt, subject: { ...subject, spec, guest } };
    },
    async remove() {
      await on.remove();
      const hypervisor = machine.connect();
      await new Promise<void>((resolve) => hypervisor.open(({ kind }) => kind === "up" && resolve()));
      await hypervisor.discard?.((await machine.left()).folders);
    },
  }));
});
