import { execFile } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

/** The domain that libvirt's test driver comes with; a foreign one to us. */
const FOREIGN = "6695eb01-f6a4-8304-79aa-97f2502e193f";

const run = promisify(execFile);

/** The running domains of a site as libvirt's own tool sees them: id of the VM → hosts on which it runs. */
export async function runningDomains(state: string, site: string): Promise<ReadonlyMap<string, readonly string[]>> {
  const found = new Map<string, string[]>();
  for (const host of hostsOf(state, site)) {
    const socket = join(state, site, host, "v", "run", "libvirt-sock");
    const uri = `test+unix:///default?socket=${socket}`;
    const { stdout } = await run("virsh", ["-q", "-c", uri, "list", "--uuid", "--state-running"], { timeout: 10_000 });
    for (const id of stdout.split("\n").filter((line) => line !== "" && line !== FOREIGN))
      found.set(id, [...(found.get(id) ?? []), host]);
  }
  return found;
}

function hostsOf(state: string, site: string): readonly string[] {
  return readdirSync(join(state, site)).filter(
    (name) => name.startsWith("host") && existsSync(join(state, site, name, "v", "run", "libvirt-sock")),
  );
}
