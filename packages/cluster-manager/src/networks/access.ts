import type { Access } from "@muster/protocol";

/** What is known, where the same is said again: a record that stays what it was is no change. */
export function keptAccess(known: Access | undefined, said: Access | undefined): Access | undefined {
  return known?.host === said?.host && known?.port === said?.port ? known : said;
}
