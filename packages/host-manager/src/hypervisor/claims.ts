/** Parts of the machine that belong to one VM alone: CPUs and GPUs. Who has which stands in the domains themselves. Pure. */
import { parse } from "ltx";

/** What a VM keeps others from having. */
export type Claims = { readonly cpus: readonly number[]; readonly gpus: readonly string[] };

/** What a domain has to itself, by its definition: also a foreign one's. */
export function claimsInDomainXml(xml: string): Claims {
  const domain = parse(xml);
  const pins = domain.getChild("cputune")?.getChildren("vcpupin") ?? [];
  const cpus = pins.flatMap(({ attrs }) => cpusOf(String(attrs.cpuset ?? "")) ?? []);
  const devices = domain.getChild("devices")?.getChildren("hostdev") ?? [];
  const gpus = devices.flatMap((device) => {
    const { attrs } = device.getChild("source")?.getChild("address") ?? {};
    if (attrs?.domain === undefined) return [];
    const [place, bus, slot, fn] = [attrs.domain, attrs.bus, attrs.slot, attrs.function].map((text) => Number(text));
    return [`${hex(place, 4)}:${hex(bus, 2)}:${hex(slot, 2)}.${fn}`];
  });
  return { cpus, gpus };
}

/** As many CPUs as there are vCPUs that nobody has, lowest first; the fault is a sentence. */
export function freeCpus(wanted: number, pool: readonly number[], taken: ReadonlySet<number>): number[] | string {
  const free = pool.filter((cpu) => !taken.has(cpu));
  if (free.length >= wanted) return free.slice(0, wanted);
  return `${wanted} CPUs of its own were asked for, and ${free.length} of the ${pool.length} that may be given away are free`;
}

export function freeGpus(wanted: number, all: readonly string[], taken: ReadonlySet<string>): string[] | string {
  const free = all.filter((address) => !taken.has(address));
  if (free.length >= wanted) return free.slice(0, wanted);
  return `${wanted} GPUs were asked for and ${free.length} of ${all.length} are free`;
}

/** CPUs in libvirt's notation, `0-3,^2,7`; `undefined` where it is none. */
export function cpusOf(cpuset: string): readonly number[] | undefined {
  const cpus = new Set<number>();
  for (const part of cpuset.split(",")) {
    const { not, first, last } = /^(?<not>\^?)(?<first>\d{1,4})(?:-(?<last>\d{1,4}))?$/.exec(part.trim())?.groups ?? {};
    if (first === undefined || (not !== "" && last !== undefined)) return undefined;
    for (let cpu = Number(first); cpu <= Number(last ?? first); cpu += 1) {
      if (not === "") cpus.add(cpu);
      else cpus.delete(cpu);
    }
  }
  return [...cpus].sort((a, b) => a - b);
}

function hex(value: number | undefined, digits: number): string {
  return (value ?? 0).toString(16).padStart(digits, "0");
}
