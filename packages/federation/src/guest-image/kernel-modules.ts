import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

/** What the guest needs beyond what its kernel has built in; those that a kernel lacks are left out. */
const WANTED = [
  "virtio_pci",
  "virtio_blk",
  "virtio_net",
  "virtio_rng",
  "virtio_balloon",
  "virtio_console",
  "virtio_scsi",
  "isofs",
  "vfat",
  "nls_cp437",
  "nls_ascii",
  "nls_utf8",
  "button",
  "evdev",
  "sd_mod",
  "sr_mod",
  "ata_piix",
  "ahci",
  "qemu_fw_cfg",
  "crc32c_generic",
];

/** Module files below `folder` that the guest loads, in an order in which every one finds what it depends on. */
export function modulesInOrder(folder: string, wanted: readonly string[] = WANTED): readonly string[] {
  const paths = new Map(
    readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".ko"))
      .map((path) => [moduleName(path), join(folder, path)]),
  );
  const order = new Set<string>();
  const visit = (name: string): void => {
    const path = paths.get(name);
    if (path === undefined || order.has(path)) return;
    for (const dependency of dependenciesOf(readFileSync(path))) visit(dependency);
    order.add(path);
  };
  for (const name of wanted) visit(name);
  return [...order];
}

/** The kernel takes `-` and `_` in a module's name for the same. */
function moduleName(path: string): string {
  return basename(path, ".ko").replaceAll("-", "_");
}

/** The module's own `depends=` (section .modinfo: strings that end with a zero byte). */
function dependenciesOf(content: Buffer): readonly string[] {
  const start = content.indexOf("\0depends=");
  if (start < 0) return [];
  const from = start + "\0depends=".length;
  const list = content.subarray(from, content.indexOf(0, from)).toString("latin1");
  return list === "" ? [] : list.split(",").map(moduleName);
}
