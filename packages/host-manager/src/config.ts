import {
  hostNameSchema,
  imageReferenceSchema,
  labelsSchema,
  resourcesSchema,
  siteDomainSchema,
} from "@muster/protocol";
import { z } from "zod";
import type { Policy } from "./core/state.ts";
import { cpusOf } from "./hypervisor/claims.ts";
import { PCI_ADDRESS } from "./hypervisor/guest-xml.ts";
import { networksConfigSchema } from "./network/config.ts";
import { gatewayConfigSchema } from "./tunnel/config.ts";

const path = z.string().min(1, "must be a path").max(4096);
const milliseconds = (least: number, most: number) =>
  z.int("must be a whole number of milliseconds").min(least).max(most);
const count = (least: number, most: number) =>
  z.int("must be a whole number").min(least, `must be at least ${least}`).max(most, `must be at most ${most}`);

const xmppSchema = z.strictObject({
  /** Where the site's XMPP server listens, with direct TLS: `xmpps://127.0.11.1:5223`. */
  service: z.string().regex(/^xmpps:\/\/(\[[0-9a-f:]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?$/, "must be xmpps://<host>:<port>"),
  /** File with the account's password. With `enrolTokenFile`, it is made at the first start where it is missing. */
  passwordFile: path,
  /** Certificates (PEM) that may have signed the server's; without it, those of the system. */
  caFile: path.optional(),
  /** File with the single-use token of `muster host enrol`; with it the account is registered at the first login. */
  enrolTokenFile: path.optional(),
});

const simulatedSchema = z.strictObject({
  /** How long a start takes, and every other order. */
  startMs: milliseconds(0, 600_000).default(200),
  stopMs: milliseconds(0, 600_000).default(50),
  /** What the simulated machine has. */
  total: resourcesSchema.default({ vcpus: 16, memoryMiB: 65_536, diskGiB: 1_000, gpus: 0 }),
});

const gpuSchema = z.strictObject({
  /** As `lspci -D` writes it. */
  address: z.string().regex(PCI_ADDRESS, "must be a PCI address like 0000:01:00.0"),
  labels: labelsSchema.default({}),
});

const cpusetSchema = z
  .string()
  .max(256)
  .transform((text, context) => {
    const cpus = cpusOf(text);
    if (cpus === undefined || cpus.length === 0) context.addIssue("must be a list of CPUs like 2-7,^4");
    return cpus ?? [];
  });

/** Images that are kept on the host for the VMs to come. */
const imageCacheSchema = z.strictObject({
  /** Room for them; those in use always stay. */
  cacheGiB: z.number().min(0.01).max(1_000_000).default(50),
  /** How long one download may take, and for how long its source may say nothing. */
  fetchMs: milliseconds(1_000, 86_400_000).default(3_600_000),
  stallMs: milliseconds(100, 600_000).default(30_000),
});

const hypervisorSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    /** A machine without guests, for trials of the rest. Its VMs end with the host manager. */
    kind: z.literal("simulated"),
    simulated: simulatedSchema.prefault({}),
  }),
  z.strictObject({
    kind: z.literal("libvirt"),
    /** libvirt's connection URI. */
    uri: z.string().min(1).max(256).default("qemu:///system"),
    /** Socket of its daemon. */
    socket: path.default("/run/libvirt/libvirt-sock"),
    /** Folder for a private libvirtd with libvirt's test driver; it is used instead of `uri` and `socket`. */
    embedded: path.optional(),
    /**
     * `kvm` for hardware virtualisation, `qemu` for emulation; `auto` uses KVM where a tiny guest was seen to run on it, once
     * a boot of the machine. libvirt's test driver needs neither.
     */
    virtType: z.enum(["auto", "kvm", "qemu"]).default("auto"),
    /** How long that tiny guest has. */
    probeMs: milliseconds(100, 600_000).default(10_000),
    /** How long a guest may take to shut down when it is told to stop; then it is cut off. */
    stopMs: milliseconds(0, 3_600_000).default(60_000),
    /** GPUs that VMs may have to themselves, by PCI address, and what VMs can ask for because of them. */
    gpus: z.array(gpuSchema).max(64).default([]),
    /** CPUs set aside for VMs that want theirs to themselves, as in `2-7`; the others are shared by the rest. */
    dedicatedCpus: cpusetSchema.optional(),
    /** Firmware of VMs that ask for UEFI, as the distribution installs it (Debian: package `ovmf`). */
    uefi: z
      .strictObject({
        code: path.default("/usr/share/OVMF/OVMF_CODE_4M.fd"),
        variables: path.default("/usr/share/OVMF/OVMF_VARS_4M.fd"),
      })
      .prefault({}),
    /** What emulation may keep of translated code, for each VM. */
    tbCacheMiB: count(16, 4_096).default(64),
    /** How long a question to libvirt, and an order, may take before the host counts as degraded. */
    readMs: milliseconds(100, 60_000).default(3_000),
    orderMs: milliseconds(100, 600_000).default(30_000),
  }),
]);

const limitsSchema = z.strictObject({
  /** VMs the host remembers an attempt of, tombstones included. */
  attempts: count(1, 100_000).default(10_000),
  /** Command ids whose answer is remembered. */
  answers: count(16, 100_000).default(2_048),
  /** Requests that wait for the next turn; one more is told to try later. */
  requests: count(1, 10_000).default(512),
  /** Orders in the hypervisor's hands at the same time. */
  jobs: count(1, 64).default(4),
  /** How often a start without a known end is tried before it counts as failed. */
  startTries: count(1, 100).default(3),
});

/** `host.yaml`: everything a host manager is told. Unknown keys are refused. */
export const hostConfigSchema = z.strictObject({
  /** XMPP domain of the site. */
  site: siteDomainSchema,
  /** Name of the host; its account is `host-<name>@<site>`. */
  name: hostNameSchema,
  /** Folder of the host manager's journal. */
  state: path,
  xmpp: xmppSchema,
  hypervisor: hypervisorSchema,
  /** What the machine has, where the hypervisor reports it wrongly or not at all; kinds left out are as reported. */
  total: resourcesSchema.partial().default({}),
  /** Kept back for the machine itself; what foreign domains take is counted on top. */
  reserved: resourcesSchema.partial().default({}),
  /**
   * How often a vCPU and a MiB of this machine may be promised at most. The site's `overcommit` plans within it; memory is
   * not overcommitted unless the machine's admin says so here as well.
   */
  overcommitMax: z
    .strictObject({ vcpus: z.number().min(1).max(64).default(16), memory: z.number().min(1).max(4).default(1) })
    .prefault({}),
  /** What VMs can ask for: `region: eu-south`. */
  labels: labelsSchema.default({}),
  /** Images that are present, by tag or digest. */
  images: z.array(imageReferenceSchema).max(200).default([]),
  imageCache: imageCacheSchema.prefault({}),
  /** What VMs can be attached to. */
  networks: networksConfigSchema.prefault({}),
  /** Tunnels to other sites; without it this host carries none. */
  gateway: gatewayConfigSchema.optional(),
  /** Live migration; without it no VM is moved alive from or to this host. */
  migration: z
    .strictObject({
      /** Address of this host that the other hosts of the site reach. Guests come in on ports of the system's choice. */
      address: z.union([z.ipv4(), z.ipv6()], "must be an IP address of this host"),
      /** How long sending one guest over may take. */
      performMs: milliseconds(1_000, 24 * 3_600_000).default(1_800_000),
    })
    .optional(),
  /** How often the host is heard, also when nothing changes. */
  heartbeatMs: milliseconds(50, 600_000).default(5_000),
  /** How long changes are collected before they are reported. */
  reportMs: milliseconds(0, 60_000).default(200),
  /** How often the hypervisor is asked for its whole list, also when it reports no change. */
  surveyMs: milliseconds(50, 600_000).default(5_000),
  /** How long the leader may take to acknowledge notices before they are sent again. */
  noticeMs: milliseconds(50, 600_000).default(5_000),
  limits: limitsSchema.prefault({}),
});
export type HostConfig = z.output<typeof hostConfigSchema>;
export type HostConfigInput = z.input<typeof hostConfigSchema>;

/** Named in every capacity. */
const AGENT = "muster-host-manager/0.1.0";
const NOTICE_RETRY_MS = 500;
const NOTICE_RETRY_MS_MAX = 30_000;

/** The part of the configuration that decisions are made by. */
export function policyOf(config: HostConfig): Policy {
  const { limits } = config;
  return {
    total: present(config.total),
    reserved: { vcpus: 0, memoryMiB: 0, diskGiB: 0, gpus: 0, ...present(config.reserved) },
    overcommitMax: config.overcommitMax,
    labels: config.labels,
    images: config.images,
    agent: AGENT,
    heartbeatMs: config.heartbeatMs,
    reportMs: config.reportMs,
    surveyMs: config.surveyMs,
    noticeRetryMs: NOTICE_RETRY_MS,
    noticeRetryMsMax: NOTICE_RETRY_MS_MAX,
    attemptsMax: limits.attempts,
    answersMax: limits.answers,
    jobsMax: limits.jobs,
    startTriesMax: limits.startTries,
  };
}

type Amounts = HostConfig["total"];
type Present = { readonly [Kind in keyof Amounts]: Exclude<Amounts[Kind], undefined> };

function present(amounts: Amounts): Present {
  return Object.fromEntries(Object.entries(amounts).filter(([, amount]) => amount !== undefined));
}
