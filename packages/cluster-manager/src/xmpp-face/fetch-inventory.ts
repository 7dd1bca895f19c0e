import { err, ok, type Result } from "@muster/base";
import {
  INVENTORY_PAGE_MAX,
  type InventoryPage,
  inventoryPageMessage,
  inventoryQueryMessage,
  type ListedVm,
} from "@muster/protocol";
import type { IqOutcome } from "@muster/xmpp";

export type FetchedInventory = { readonly bootId: string; readonly digest: string; readonly vms: readonly ListedVm[] };

/** Longest list of one host that is taken (S2). */
const PAGES_MAX = 400;
/** The list changes while it is read: so often it is begun again before giving up until the host is heard next. */
const TRIES_MAX = 5;

/** Reads a host's whole list page by page, with what each VM is where `subjects` says so; only pages of one revision of one start of the host make a list. */
export async function fetchInventory(
  ask: (query: ReturnType<typeof inventoryQueryMessage.encode>) => Promise<IqOutcome>,
  subjects = false,
): Promise<Result<FetchedInventory, string>> {
  for (let attempt = 0; attempt < TRIES_MAX; attempt += 1) {
    const list = await fetchOnce(ask, subjects);
    if (list !== "changed") return list;
  }
  return err("the list changed each time while it was read");
}

async function fetchOnce(
  ask: (query: ReturnType<typeof inventoryQueryMessage.encode>) => Promise<IqOutcome>,
  subjects: boolean,
): Promise<Result<FetchedInventory, string> | "changed"> {
  const vms: ListedVm[] = [];
  let first: InventoryPage | undefined;
  for (let pages = 0; pages < PAGES_MAX; pages += 1) {
    const after = vms.at(-1)?.vm;
    const query = {
      max: INVENTORY_PAGE_MAX,
      ...(after === undefined ? {} : { after }),
      ...(subjects ? { subjects } : {}),
    };
    const outcome = await ask(inventoryQueryMessage.encode(query));
    if (outcome.kind !== "result" || outcome.payload === undefined) return err(`the host answered ${outcome.kind}`);
    const page = inventoryPageMessage.decode(outcome.payload);
    if (!page.ok) return err(page.error.map(({ field, message }) => `${field}: ${message}`).join("; "));
    first ??= page.value;
    if (page.value.revision !== first.revision || page.value.bootId !== first.bootId) return "changed";
    if (page.value.vms.length === 0 && !page.value.complete) return err("the host sent an empty page in the middle");
    vms.push(...page.value.vms);
    if (page.value.complete) return ok({ bootId: first.bootId, digest: first.digest, vms });
  }
  return err(`the list has more than ${PAGES_MAX} pages`);
}
