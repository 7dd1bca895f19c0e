import { blockProcedures } from "./block.ts";
import { connectProcedures, registrationProcedures } from "./connect.ts";
import { domainProcedures } from "./domain.ts";
import { migrationProcedures } from "./migration.ts";
import { networkProcedures } from "./network.ts";
import { qemuProcedures, resourceProcedures } from "./resources.ts";
import { snapshotProcedures } from "./snapshot.ts";
import { poolProcedures, volumeProcedures } from "./storage.ts";

/** The whole table: every procedure this library can call, by name. */
export const procedureTable = {
  ...connectProcedures,
  ...registrationProcedures,
  ...domainProcedures,
  ...resourceProcedures,
  ...blockProcedures,
  ...snapshotProcedures,
  ...networkProcedures,
  ...poolProcedures,
  ...volumeProcedures,
  ...migrationProcedures,
  ...qemuProcedures,
};

/** Name of a procedure in the table. */
export type ProcedureName = keyof typeof procedureTable;
