/**
 * How long nobody can place: two sites of two managers each over `level` stores, real Prosody servers, three hosts with
 * libvirt each. From the fault until the first VM that was asked for after it runs, 30 runs of each fault.
 *
 *   npm run bench -- takeover
 */
import { measureTakeovers } from "./site/takeover.ts";

await measureTakeovers({ store: "level", loopback: 101 }, ["kill", "hang", "step-down"]);
process.exit(0);
