/** What a site has stored of the notices of its hosts: for each start of a host manager the highest number. */
import type { HostRecord } from "@muster/cluster-manager";
import type { Kept } from "../site-store.ts";

export class NoticesStored {
  readonly #highest = new Map<string, number>();

  take(site: string, kept: readonly Kept[]): void {
    for (const { key, after } of kept) {
      if (!key.startsWith("host/") || after === undefined) continue;
      const { name, notices } = after as HostRecord;
      if (notices === undefined) continue;
      const start = `${site}/${name} ${notices.bootId}`;
      this.#highest.set(start, Math.max(this.#highest.get(start) ?? 0, notices.sequence));
    }
  }

  upTo(site: string, host: string, bootId: string): number {
    return this.#highest.get(`${site}/${host} ${bootId}`) ?? 0;
  }
}
