import { defineConfig } from "vitest/config";

// One project a layer, so that a layer can be run alone: `npx vitest run --project unit`.
const resolve = { conditions: ["muster-source", "node", "import", "default"] };
const ssr = { resolve: { conditions: ["muster-source", "node", "import", "default"] } };

/** Real processes on a machine that others use as well may miss a deadline: one more try there, which the report names. */
const retry = process.env.CI === "true" ? 1 : 0;

export default defineConfig({
  test: {
    // Vitest would leave one core to itself; on two cores that doubles the time.
    maxWorkers: 2,
    projects: [
      {
        resolve,
        ssr,
        test: {
          name: "unit",
          include: ["packages/*/src/**/*.test.ts"],
          retry,
          testTimeout: 20_000,
          hookTimeout: 30_000,
        },
      },
      {
        resolve,
        ssr,
        test: {
          name: "system",
          include: ["test/**/*.test.ts"],
          retry,
          testTimeout: 90_000,
          hookTimeout: 90_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
