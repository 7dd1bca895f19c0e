/**
 * What a lender asks for, and what a stretch of use costs by it. Whole thousandths of a unit that the two sites agreed on: the
 * protocol knows no currency.
 */
import { z } from "zod";
import type { Resources } from "../resources.ts";
import { type Fields, integer } from "../xml/field.ts";

const priceSchema = z.int().min(0).max(1_000_000_000);

/** Thousandths of the site's unit for an hour of one vCPU, one GiB of memory, one GPU. */
export const unitPricesSchema = z.object({
  vcpuHour: priceSchema,
  memoryGiBHour: priceSchema,
  gpuHour: priceSchema,
});
export type UnitPrices = Readonly<z.output<typeof unitPricesSchema>>;

export const NO_PRICES: UnitPrices = { vcpuHour: 0, memoryGiBHour: 0, gpuHour: 0 };

export const unitPricesFields: Fields<UnitPrices> = { vcpuHour: integer, memoryGiBHour: integer, gpuHour: integer };

const MIB_PER_GIB = 1_024n;
const MS_PER_HOUR = 3_600_000n;

/**
 * Thousandths of a unit for `resources` over `durationMs`. Worked out in whole numbers and rounded once, at the end, down to
 * a whole thousandth: both sides get the same figure, and what is cut off is the borrower's. Throws `RangeError` for a
 * duration that is no whole number; what is beyond safe integers stays at the largest one.
 */
export function amountOf(resources: Resources, prices: UnitPrices, durationMs: number): number {
  const perHour =
    (BigInt(resources.vcpus) * BigInt(prices.vcpuHour) + BigInt(resources.gpus) * BigInt(prices.gpuHour)) *
      MIB_PER_GIB +
    BigInt(resources.memoryMiB) * BigInt(prices.memoryGiBHour);
  const amount = (perHour * BigInt(durationMs)) / (MIB_PER_GIB * MS_PER_HOUR);
  return Number(amount > BigInt(Number.MAX_SAFE_INTEGER) ? BigInt(Number.MAX_SAFE_INTEGER) : amount);
}
