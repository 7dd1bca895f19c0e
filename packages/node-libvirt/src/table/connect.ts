import { array, int, optional, struct, uhyper, uint, vector } from "../xdr/schema.ts";
import { domain, Limit, maybeText, name, network, params, pool } from "./fields.ts";
import { job, Program, procedures, read } from "./procedure.ts";

const counters = array(struct({ field: name, value: uhyper }), Limit.fewParams);
const cpuXmls = array(name, 256);

/** Opening and closing, the daemon, and what it knows about its machine. */
export const connectProcedures = procedures(Program.remote, {
  authList: read(66, {}, { types: array(int, 20) }),
  authPolkit: read(70, {}, { complete: int }),
  connectOpen: read(1, { uri: maybeText, flags: uint }, {}),
  connectClose: read(2, {}, {}),
  connectGetType: read(3, {}, { type: name }),
  connectGetVersion: read(4, {}, { version: uhyper }),
  connectGetLibVersion: read(157, {}, { version: uhyper }),
  connectGetUri: read(110, {}, { uri: name }),
  connectGetHostname: read(59, {}, { hostname: name }),
  connectGetSysinfo: read(203, { flags: uint }, { xml: name }),
  connectSupportsFeature: read(60, { feature: int }, { supported: int }),
  connectIsSecure: read(149, {}, { secure: int }),
  connectGetMaxVcpus: read(5, { type: maybeText }, { maxVcpus: int }),
  connectGetCapabilities: read(7, {}, { xml: name }),
  connectGetDomainCapabilities: read(
    342,
    { emulator: maybeText, arch: maybeText, machine: maybeText, virtType: maybeText, flags: uint },
    { xml: name },
  ),
  connectGetStoragePoolCapabilities: read(403, { flags: uint }, { xml: name }),
  connectGetCpuModelNames: read(
    312,
    { arch: name, needResults: int, flags: uint },
    { models: array(name, 8_192), count: int },
  ),
  connectCompareCpu: read(158, { xml: name, flags: uint }, { result: int }),
  connectBaselineCpu: read(162, { xmls: cpuXmls, flags: uint }, { cpu: name }),
  connectDomainXmlFromNative: read(135, { format: name, config: name, flags: uint }, { xml: name }),
  connectDomainXmlToNative: read(136, { format: name, xml: name, flags: uint }, { config: name }),
  nodeGetInfo: read(
    6,
    {},
    {
      model: vector(int, 32),
      memoryKiB: uhyper,
      cpus: int,
      mhz: int,
      nodes: int,
      sockets: int,
      cores: int,
      threads: int,
    },
  ),
  nodeGetFreeMemory: read(102, {}, { bytes: uhyper }),
  nodeGetCellsFreeMemory: read(101, { startCell: int, maxCells: int }, { bytes: array(uhyper, Limit.cells) }),
  nodeGetFreePages: read(
    340,
    { pageSizesKiB: array(uint, Limit.cells), startCell: int, cellCount: uint, flags: uint },
    { counts: array(uhyper, Limit.cells) },
  ),
  nodeGetCpuStats: read(227, { cpu: int, maxParams: int, flags: uint }, { params: counters, count: int }),
  nodeGetMemoryStats: read(228, { maxParams: int, cell: int, flags: uint }, { params: counters, count: int }),
  nodeGetMemoryParameters: read(289, { maxParams: int, flags: uint }, { params: params(Limit.someParams), count: int }),
});

/** Asking for events and no longer asking for them. The answer's callback id comes back in every event. */
export const registrationProcedures = procedures(Program.remote, {
  connectDomainEventCallbackRegisterAny: job(316, { event: int, filter: optional(domain) }, { callbackId: int }),
  connectDomainEventCallbackDeregisterAny: job(317, { callbackId: int }, {}),
  connectNetworkEventRegisterAny: job(313, { event: int, filter: optional(network) }, { callbackId: int }),
  connectNetworkEventDeregisterAny: job(314, { callbackId: int }, {}),
  connectStoragePoolEventRegisterAny: job(368, { event: int, filter: optional(pool) }, { callbackId: int }),
  connectStoragePoolEventDeregisterAny: job(369, { callbackId: int }, {}),
});
