import { InvalidArgumentError } from "commander";

const DURATION_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const MEMORY_MIB = { MiB: 1, GiB: 1_024, TiB: 1_048_576 } as const;
const DISK_GIB = { GiB: 1, TiB: 1_024 } as const;

/** `90s`, `5m`, `1h`; a bare number is seconds. Milliseconds. */
export function parseDuration(text: string): number {
  return parseUnit(text, DURATION_MS, "s", "a duration such as 90s, 5m or 1h");
}

/** `2026-12-01T06:00`, in the local time zone where none is said, or `2h` from `nowMs`. As ISO 8601 in UTC. */
export function parseMoment(text: string, nowMs: number): string {
  const atMs = /^\d+(\.\d+)?\s*[A-Za-z]+$/.test(text.trim()) ? nowMs + parseDuration(text) : Date.parse(text);
  if (!Number.isFinite(atMs))
    throw new InvalidArgumentError("expected a time such as 2026-12-01T06:00, or 2h from now");
  return new Date(atMs).toISOString();
}

/** `4GiB`, `512MiB`; a bare number is MiB. */
export function parseMemory(text: string): number {
  return parseUnit(text, MEMORY_MIB, "MiB", "a size such as 512MiB or 4GiB");
}

/** `20GiB`, `1TiB`; a bare number is GiB. */
export function parseDisk(text: string): number {
  return parseUnit(text, DISK_GIB, "GiB", "a size such as 20GiB or 1TiB");
}

/** A number as written; the manager's schema says what is in range, so that there is one truth about bounds. */
export function parseCount(text: string): number {
  const count = Number(text);
  if (text.trim() === "" || !Number.isFinite(count)) throw new InvalidArgumentError("expected a number");
  return count;
}

function parseUnit(text: string, units: Readonly<Record<string, number>>, bare: string, expected: string): number {
  const match = /^(-?\d+(?:\.\d+)?)\s*([A-Za-z]*)$/.exec(text.trim());
  const unit = match?.[2] === "" ? bare : (match?.[2] ?? "");
  const factor = Object.hasOwn(units, unit) ? units[unit] : undefined;
  if (match === null || factor === undefined) throw new InvalidArgumentError(`expected ${expected}`);
  return Number(match[1]) * factor;
}
