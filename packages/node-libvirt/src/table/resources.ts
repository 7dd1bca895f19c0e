import { array, bytes, hyper, int, struct, uhyper, uint } from "../xdr/schema.ts";
import { domain, Limit, maybeText, name, params } from "./fields.ts";
import { job, Program, procedures, read } from "./procedure.ts";

const cpuMap = bytes(Limit.cpuMapBytes);
const cpuMaps = bytes(Limit.cpuMapsBytes);
const few = params(Limit.fewParams);
const statsRecords = array(struct({ domain, params: params(Limit.statsParams) }), Limit.listItems);
const vcpuInfos = array(struct({ number: uint, state: int, cpuTimeNs: uhyper, cpu: int }), Limit.listItems);
const memoryStats = array(struct({ tag: int, value: uhyper }), 1_024);
const addresses = array(struct({ type: int, address: name, prefix: uint }), Limit.manyParams);
const interfaces = array(struct({ name, mac: maybeText, addresses }), Limit.manyParams);
const filesystems = array(struct({ mountpoint: name, name, type: name, devices: array(name, 256) }), 256);
const ioThreads = array(struct({ id: uint, cpuMap }), Limit.listItems);
const mountpoints = array(name, 256);

/** What a domain uses and what it may use: CPU, memory, devices, statistics, and its guest agent. */
export const resourceProcedures = procedures(Program.remote, {
  connectGetAllDomainStats: read(
    344,
    { domains: array(domain, Limit.listItems), stats: uint, flags: uint },
    { records: statsRecords },
  ),
  domainGetMaxMemory: read(17, { domain }, { memoryKiB: uhyper }),
  domainSetMaxMemory: job(30, { domain, memoryKiB: uhyper }, {}),
  domainSetMemory: job(31, { domain, memoryKiB: uhyper }, {}),
  domainSetMemoryFlags: job(204, { domain, memoryKiB: uhyper, flags: uint }, {}),
  domainSetMemoryStatsPeriod: job(308, { domain, periodS: int, flags: uint }, {}),
  domainMemoryStats: read(159, { domain, maxStats: uint, flags: uint }, { stats: memoryStats }),
  domainSetMemoryParameters: job(197, { domain, params: few, flags: uint }, {}),
  domainGetMemoryParameters: read(198, { domain, maxParams: int, flags: uint }, { params: few, count: int }),
  domainGetMaxVcpus: read(18, { domain }, { vcpus: int }),
  domainGetVcpus: read(20, { domain, maxInfo: int, mapBytes: int }, { vcpus: vcpuInfos, cpuMaps }),
  domainGetVcpusFlags: read(200, { domain, flags: uint }, { vcpus: int }),
  domainSetVcpus: job(32, { domain, vcpus: uint }, {}),
  domainSetVcpusFlags: job(199, { domain, vcpus: uint, flags: uint }, {}),
  domainSetVcpu: job(384, { domain, cpuMap: name, state: int, flags: uint }, {}),
  domainPinVcpu: job(26, { domain, vcpu: uint, cpuMap }, {}),
  domainPinVcpuFlags: job(225, { domain, vcpu: uint, cpuMap, flags: uint }, {}),
  domainGetVcpuPinInfo: read(230, { domain, maps: int, mapBytes: int, flags: uint }, { cpuMaps, maps: int }),
  domainPinEmulator: job(279, { domain, cpuMap, flags: uint }, {}),
  domainGetEmulatorPinInfo: read(280, { domain, mapBytes: int, flags: uint }, { cpuMaps, result: int }),
  domainGetIothreadInfo: read(351, { domain, flags: uint }, { threads: ioThreads, count: uint }),
  domainGetCpuStats: read(
    262,
    { domain, maxParams: uint, startCpu: int, cpus: uint, flags: uint },
    { params: params(Limit.manyParams), count: int },
  ),
  domainSetNumaParameters: job(254, { domain, params: few, flags: uint }, {}),
  domainGetNumaParameters: read(255, { domain, maxParams: int, flags: uint }, { params: few, count: int }),
  domainGetSchedulerParametersFlags: read(223, { domain, maxParams: int, flags: uint }, { params: few }),
  domainSetSchedulerParametersFlags: job(219, { domain, params: few, flags: uint }, {}),
  domainAttachDevice: job(8, { domain, xml: name }, {}),
  domainAttachDeviceFlags: job(160, { domain, xml: name, flags: uint }, {}),
  domainDetachDevice: job(13, { domain, xml: name }, {}),
  domainDetachDeviceFlags: job(161, { domain, xml: name, flags: uint }, {}),
  domainDetachDeviceAlias: job(392, { domain, alias: name, flags: uint }, {}),
  domainUpdateDeviceFlags: job(174, { domain, xml: name, flags: uint }, {}),
  domainInterfaceStats: read(
    65,
    { domain, device: name },
    {
      rxBytes: hyper,
      rxPackets: hyper,
      rxErrors: hyper,
      rxDropped: hyper,
      txBytes: hyper,
      txPackets: hyper,
      txErrors: hyper,
      txDropped: hyper,
    },
  ),
  domainSetInterfaceParameters: job(256, { domain, device: name, params: few, flags: uint }, {}),
  domainGetInterfaceParameters: read(
    257,
    { domain, device: name, maxParams: int, flags: uint },
    { params: few, count: int },
  ),
  domainGetControlInfo: read(229, { domain, flags: uint }, { state: uint, details: uint, stateTimeMs: uhyper }),
  domainGetMessages: read(426, { domain, flags: uint }, { messages: array(name, Limit.manyParams) }),
  domainGetHostname: job(277, { domain, flags: uint }, { hostname: name }),
  domainInterfaceAddresses: job(353, { domain, source: uint, flags: uint }, { interfaces }),
  domainGetGuestInfo: job(418, { domain, types: uint, flags: uint }, { params: params(Limit.manyParams) }),
  domainGetGuestVcpus: job(371, { domain, flags: uint }, { params: params(Limit.someParams) }),
  domainSetGuestVcpus: job(372, { domain, cpuMap: name, state: int, flags: uint }, {}),
  domainGetFsinfo: job(349, { domain, flags: uint }, { filesystems, count: uint }),
  domainFsfreeze: job(335, { domain, mountpoints, flags: uint }, { filesystems: int }),
  domainFsthaw: job(336, { domain, mountpoints, flags: uint }, { filesystems: int }),
  domainFstrim: job(294, { domain, mountpoint: maybeText, minimumBytes: uhyper, flags: uint }, {}),
  domainGetTime: job(337, { domain, flags: uint }, { seconds: hyper, nanoseconds: uint }),
  domainSetTime: job(338, { domain, seconds: hyper, nanoseconds: uint, flags: uint }, {}),
  domainSetUserPassword: job(357, { domain, user: maybeText, password: maybeText, flags: uint }, {}),
  domainSendKey: job(
    226,
    { domain, codeset: uint, holdMs: uint, keycodes: array(uint, Limit.fewParams), flags: uint },
    {},
  ),
});

/** The QEMU driver's own program: the guest agent and the monitor. */
export const qemuProcedures = procedures(Program.qemu, {
  qemuDomainMonitorCommand: job(1, { domain, command: name, flags: uint }, { result: name }),
  qemuDomainAgentCommand: job(3, { domain, command: name, timeoutS: int, flags: uint }, { result: maybeText }),
});
