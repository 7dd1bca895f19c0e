import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { modulesInOrder } from "./kernel-modules.ts";

const folder = mkdtempSync(join(tmpdir(), "muster-modules-"));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("the modules of the guest's kernel", () => {
  it("come after what they depend on, once each, and one that the kernel lacks is left out", () => {
    const add = (path: string, depends: string): void => {
      mkdirSync(join(folder, path, ".."), { recursive: true });
      writeFileSync(join(folder, path), `\u007fELF license=GPL\0depends=${depends}\0name=x\0`);
    };
    add("net/virtio_net.ko", "net_failover,virtio");
    add("net/net-failover.ko", "failover");
    add("core/failover.ko", "");
    add("virtio/virtio.ko", "");
    add("virtio/virtio_blk.ko", "virtio");
    const order = modulesInOrder(folder, ["virtio_net", "virtio_blk", "not_there"]).map((path) => basename(path));
    expect(order).toEqual(["failover.ko", "net-failover.ko", "virtio.ko", "virtio_net.ko", "virtio_blk.ko"]);
  });
});
