import type { VmView } from "@muster/protocol";
import { type Column, type Format, formatList } from "../output/format.ts";

const COLUMNS: readonly Column<VmView>[] = [
  { heading: "NAME", value: ({ name }) => name },
  { heading: "PHASE", value: ({ phase }) => phase },
  { heading: "PLACE", value: placeOf },
  { heading: "ADDRESS", value: ({ address }) => address ?? "-" },
  { heading: "VCPUS", value: ({ spec }) => spec.vcpus },
  { heading: "MEMORY MIB", value: ({ spec }) => spec.memoryMiB },
  { heading: "PROJECT", value: ({ project }) => project },
  { heading: "ID", value: ({ id }) => id },
];

const PLAIN_COLUMNS = COLUMNS.filter(({ heading }) => heading !== "ADDRESS");

/** People are spared a column in which nothing stands. */
export function formatVms(vms: readonly VmView[], format: Format): string {
  const columns = format === "table" && vms.every(({ address }) => address === undefined) ? PLAIN_COLUMNS : COLUMNS;
  return formatList(vms, columns, format);
}

function placeOf({ place, move }: VmView): string {
  if (move !== undefined) return `${move.from} → ${move.to}`;
  if (place.kind === "host") return place.host;
  return place.kind === "peer" ? `peer ${place.peer}` : "-";
}
