import type { Result } from "@muster/base";
import type { Store, StoreFault } from "@muster/cluster-manager";

export type Opening = Promise<Result<Store, StoreFault>>;

/** The open store; a bench that cannot open one fails. */
export async function opened(opening: Opening): Promise<Store> {
  const result = await opening;
  if (!result.ok) throw new Error(result.error.message);
  return result.value;
}
