import { bytes, int, uhyper, uint } from "../xdr/schema.ts";
import { domain, Limit, maybeText, name, params } from "./fields.ts";
import { job, Program, procedures, read } from "./procedure.ts";

const cookie = bytes(Limit.cookieBytes);
const migrationParams = params(Limit.someParams);

/**
 * Migration, version 3, whose five steps two separate programs can take in turn: begin (source), prepare
 * (destination), perform (source), finish (destination), confirm (source). Each step's cookie goes to the next as is.
 */
export const migrationProcedures = procedures(Program.remote, {
  domainMigrateBegin3Params: job(
    302,
    { domain, params: migrationParams, flags: uint },
    { cookieOut: cookie, xml: name },
  ),
  domainMigratePrepare3Params: job(
    303,
    { params: migrationParams, cookieIn: cookie, flags: uint },
    { cookieOut: cookie, uriOut: maybeText },
  ),
  domainMigratePerform3Params: job(
    305,
    { domain, destinationUri: maybeText, params: migrationParams, cookieIn: cookie, flags: uint },
    { cookieOut: cookie },
  ),
  domainMigrateFinish3Params: job(
    306,
    { params: migrationParams, cookieIn: cookie, flags: uint, cancelled: int },
    { domain, cookieOut: cookie },
  ),
  domainMigrateConfirm3Params: job(
    307,
    { domain, params: migrationParams, cookieIn: cookie, flags: uint, cancelled: int },
    {},
  ),
  domainMigrateSetMaxDowntime: job(166, { domain, downtimeMs: uhyper, flags: uint }, {}),
  domainMigrateGetMaxDowntime: read(387, { domain, flags: uint }, { downtimeMs: uhyper }),
  domainMigrateSetMaxSpeed: job(207, { domain, bandwidthMiBps: uhyper, flags: uint }, {}),
  domainMigrateGetMaxSpeed: read(242, { domain, flags: uint }, { bandwidthMiBps: uhyper }),
  domainMigrateSetCompressionCache: job(300, { domain, cacheBytes: uhyper, flags: uint }, {}),
  domainMigrateGetCompressionCache: read(299, { domain, flags: uint }, { cacheBytes: uhyper }),
  domainMigrateStartPostCopy: job(364, { domain, flags: uint }, {}),
});
