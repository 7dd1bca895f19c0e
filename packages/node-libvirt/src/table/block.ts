import { array, bytes, hyper, int, struct, uhyper, uint } from "../xdr/schema.ts";
import { domain, Limit, maybeText, name, params } from "./fields.ts";
import { job, Program, procedures, read } from "./procedure.ts";

const diskErrors = array(struct({ disk: name, error: int }), 256);
const few = params(Limit.fewParams);
const tuning = params(32);

/** A domain's disks: figures, limits and jobs that move or merge them. */
export const blockProcedures = procedures(Program.remote, {
  domainGetBlockInfo: read(
    194,
    { domain, path: name, flags: uint },
    { allocationBytes: uhyper, capacityBytes: uhyper, physicalBytes: uhyper },
  ),
  domainBlockStats: read(
    64,
    { domain, path: name },
    { readRequests: hyper, readBytes: hyper, writeRequests: hyper, writeBytes: hyper, errors: hyper },
  ),
  domainBlockStatsFlags: read(243, { domain, path: name, maxParams: int, flags: uint }, { params: few, count: int }),
  domainGetDiskErrors: read(263, { domain, maxErrors: uint, flags: uint }, { errors: diskErrors, count: int }),
  domainGetBlockJobInfo: read(
    238,
    { domain, path: name, flags: uint },
    { found: int, type: int, bandwidth: uhyper, current: uhyper, end: uhyper },
  ),
  domainBlockPeek: read(
    103,
    { domain, path: name, offset: uhyper, size: uint, flags: uint },
    { data: bytes(Limit.peekBytes) },
  ),
  domainGetBlkioParameters: read(206, { domain, maxParams: int, flags: uint }, { params: few, count: int }),
  domainSetBlkioParameters: job(205, { domain, params: few, flags: uint }, {}),
  domainGetBlockIoTune: read(
    253,
    { domain, disk: maybeText, maxParams: int, flags: uint },
    { params: tuning, count: int },
  ),
  domainSetBlockIoTune: job(252, { domain, disk: name, params: tuning, flags: uint }, {}),
  domainSetBlockThreshold: job(386, { domain, device: name, thresholdBytes: uhyper, flags: uint }, {}),
  domainBlockResize: job(251, { domain, disk: name, size: uhyper, flags: uint }, {}),
  domainBlockJobAbort: job(237, { domain, path: name, flags: uint }, {}),
  domainBlockJobSetSpeed: job(239, { domain, path: name, bandwidth: uhyper, flags: uint }, {}),
  domainBlockPull: job(240, { domain, path: name, bandwidth: uhyper, flags: uint }, {}),
  domainBlockRebase: job(266, { domain, path: name, base: maybeText, bandwidth: uhyper, flags: uint }, {}),
  domainBlockCommit: job(
    290,
    { domain, disk: name, base: maybeText, top: maybeText, bandwidth: uhyper, flags: uint },
    {},
  ),
  domainBlockCopy: job(345, { domain, path: name, destinationXml: name, params: few, flags: uint }, {}),
});
