/**
 * How long nobody can place, as in `takeover.ts`, over an etcd of three members on the same machine, with TLS; one of the
 * faults takes etcd's own leader away together with the manager that leads.
 *
 *   npm run bench -- takeover-etcd
 */
import { measureTakeovers } from "./site/takeover.ts";

await measureTakeovers({ store: "etcd", loopback: 105 }, ["kill", "hang", "step-down", "kill, with etcd's leader"]);
process.exit(0);
