import { isDeepStrictEqual } from "node:util";
import type { DomainReport } from "../hypervisor/port.ts";
import type { AttemptRecord } from "./state.ts";
import type { Turn } from "./turn.ts";

/** What a domain's report makes of its record; tells it where that is news. */
export function observe(turn: Turn, record: AttemptRecord, domain: DomainReport, reason?: string): void {
  const { reason: _reason, address: _address, access: _access, tries: _tries, ...rest } = record;
  const seen: AttemptRecord = {
    ...rest,
    state: domain.state,
    ...(domain.address === undefined ? {} : { address: domain.address }),
    ...(domain.access === undefined ? {} : { access: domain.access }),
    ...(reason === undefined ? {} : { reason }),
  };
  const isNews =
    record.state !== seen.state ||
    record.address !== seen.address ||
    !isDeepStrictEqual(record.access, seen.access) ||
    (reason !== undefined && reason !== record.reason);
  if (isNews) turn.putAndTell(seen);
}
