import { styleText } from "node:util";
import type { HostView, LeaseView, Resources, VmView } from "@muster/protocol";
import type { SiteSnapshot } from "./snapshot.ts";

export type Screen = { readonly columns: number; readonly rows: number; readonly color: boolean };

/** Most rows of one list in the live view; the rest is counted. */
const LIST_ROWS_MAX = 8;

/** The live view as lines that fit the screen: sites, hosts, VMs, queue and leases, then what to try next. */
export function renderView(snapshots: readonly SiteSnapshot[], hints: readonly string[], screen: Screen): string[] {
  const paint = painter(screen.color);
  const lines = snapshots.flatMap((snapshot) => [...renderSite(snapshot, paint), ""]);
  const body = [...lines, ...hints];
  const shown = body.length > screen.rows - 1 ? [...body.slice(0, Math.max(1, screen.rows - 2)), "…"] : body;
  return shown.map((line) => clip(line, screen.columns));
}

type Paint = (style: "bold" | "green" | "yellow" | "red" | "dim", text: string) => string;

function painter(color: boolean): Paint {
  return (style, text) => (color ? styleText(style, text, { validateStream: false }) : text);
}

function renderSite(snapshot: SiteSnapshot, paint: Paint): string[] {
  if (snapshot.kind === "silent")
    return [`${paint("bold", snapshot.name)}  ${paint("red", "no answer")}: ${snapshot.why}`];
  const { site, hosts, vms, queue, leases } = snapshot;
  const heading = `${paint("bold", site.domain)}  term ${site.term}, leader ${site.leader}, ${usage(site)}`;
  return [
    heading,
    ...hosts.slice(0, LIST_ROWS_MAX).map((host) => hostLine(host, paint)),
    ...more(hosts.length, "hosts"),
    ...vms
      .filter(({ phase }) => phase !== "queued")
      .slice(0, LIST_ROWS_MAX)
      .map((vm) => vmLine(vm, paint)),
    ...more(vms.length - queue.length, "VMs"),
    ...queue
      .slice(0, LIST_ROWS_MAX)
      .map(({ position, name, reason }) => `  ${paint("yellow", "queued")}  ${position}. ${name}: ${reason}`),
    ...more(queue.length, "queued"),
    ...leases.slice(0, LIST_ROWS_MAX).map((lease) => leaseLine(lease, paint)),
    ...more(leases.length, "leases"),
  ];
}

function hostLine(host: HostView, paint: Paint): string {
  const well = host.liveness === "alive" && host.condition === "accepting" && !host.draining;
  const state = host.draining ? "draining" : host.liveness === "alive" ? host.condition : host.liveness;
  return `  host    ${host.name.padEnd(8)} ${paint(well ? "green" : "yellow", state.padEnd(10))} ${host.statusLine}`;
}

function vmLine(vm: VmView, paint: Paint): string {
  const at = vm.place.kind === "host" ? vm.place.host : vm.place.kind === "peer" ? `peer ${vm.place.peer}` : "-";
  const phase = paint(vm.phase === "running" ? "green" : "yellow", vm.phase.padEnd(10));
  const of = vm.origin.kind === "peer" ? `, for ${vm.origin.peer}` : "";
  return `  vm      ${vm.name.padEnd(14)} ${phase} on ${at}${of}`;
}

function leaseLine(lease: LeaseView, paint: Paint): string {
  const side = lease.role === "borrower" ? `from ${lease.peer}` : `to ${lease.peer}`;
  return `  lease   ${lease.name.padEnd(14)} ${paint("green", lease.stage.padEnd(10))} ${side}, ${Math.round(lease.remainingMs / 1000)} s left, ${lease.renewals} renewals`;
}

function usage({ used, total }: { readonly used: Resources; readonly total: Resources }): string {
  return `${used.vcpus}/${total.vcpus} vCPU, ${Math.round(used.memoryMiB / 1024)}/${Math.round(total.memoryMiB / 1024)} GiB used`;
}

function more(count: number, what: string): string[] {
  return count > LIST_ROWS_MAX ? [`  … and ${count - LIST_ROWS_MAX} more ${what}`] : [];
}

/** Cuts to the width of the screen, not counting the escape sequences of colours. */
function clip(line: string, columns: number): string {
  let width = 0;
  let clipped = "";
  // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences of colours begin with one
  for (const part of line.split(/(\u001b\[[0-9;]*m)/)) {
    if (part.startsWith("\u001b[")) clipped += part;
    else {
      clipped += part.slice(0, Math.max(0, columns - width));
      width += part.length;
    }
  }
  return clipped;
}
