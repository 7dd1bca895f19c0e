import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { amountOf } from "./prices.ts";

const HOUR_MS = 3_600_000;
const RESOURCES = { vcpus: 2, memoryMiB: 1_536, diskGiB: 10, gpus: 1 };
const PRICES = { vcpuHour: 1_000, memoryGiBHour: 200, gpuHour: 9_000 };

describe("the amount of a stretch", () => {
  it("is the price of vCPUs, memory and GPUs over the time, in whole thousandths cut off at the end", () => {
    expect(amountOf(RESOURCES, PRICES, HOUR_MS)).toBe(2_000 + 300 + 9_000);
    expect(amountOf(RESOURCES, PRICES, HOUR_MS / 2)).toBe(5_650);
    expect(amountOf({ ...RESOURCES, gpus: 0 }, { vcpuHour: 1, memoryGiBHour: 0, gpuHour: 0 }, HOUR_MS - 1)).toBe(1);
    expect(amountOf(RESOURCES, PRICES, 0)).toBe(0);
  });

  it("is exact where a product is beyond what a number holds, and never more than a number can be", () => {
    const large = { vcpus: 1_000_000_000, memoryMiB: 0, diskGiB: 0, gpus: 0 };
    expect(amountOf(large, { vcpuHour: 1_001, memoryGiBHour: 0, gpuHour: 0 }, HOUR_MS)).toBe(1_001_000_000_000);
    const most = { vcpuHour: 1_000_000_000, memoryGiBHour: 1_000_000_000, gpuHour: 1_000_000_000 };
    expect(amountOf(large, most, Number.MAX_SAFE_INTEGER)).toBe(Number.MAX_SAFE_INTEGER);
  });

  it("cut into stretches is at most one thousandth a cut below the whole", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(10_000_000), { minLength: 1, maxLength: 20 }), (stretches) => {
        const whole = amountOf(
          RESOURCES,
          PRICES,
          stretches.reduce((sum, part) => sum + part, 0),
        );
        const parts = stretches.reduce((sum, part) => sum + amountOf(RESOURCES, PRICES, part), 0);
        expect(parts).toBeLessThanOrEqual(whole);
        expect(whole - parts).toBeLessThanOrEqual(stretches.length);
      }),
    );
  });
});
