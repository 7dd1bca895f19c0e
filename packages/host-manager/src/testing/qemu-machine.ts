/** A machine with a libvirtd of its own that drives QEMU, and everything else that real guests need; for tests. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { err, ok, systemClock, systemRng } from "@muster/base";
import type { CommandSubject, GuestImage, GuestNic } from "@muster/protocol";
import { Libvirt, type PrivateDaemon, startQemuDaemon } from "node-libvirt";
import { libvirtHypervisor } from "../hypervisor/libvirt.ts";
import { LibvirtGuests, type LibvirtGuestsOptions } from "../hypervisor/libvirt-guests.ts";
import type { DomainPlan, Hypervisor } from "../hypervisor/port.ts";
import type { HostNetworks, NicWiring } from "../network/port.ts";
import { subject, vmId } from "./fixture.ts";

/** What libvirt found out about QEMU, kept between the files of a test run and between runs. */
const CACHE_DIR = fileURLToPath(new URL("../../../../node_modules/.cache/libvirt-qemu", import.meta.url));
const PROGRAMS = ["libvirtd", "qemu-system-x86_64", "qemu-img", "genisoimage", "unshare", "setpriv", "prlimit"];

/** Why no guest can be run here by libvirt's privileged QEMU driver; `undefined` where one can. Says so on stderr. */
export function whyNoQemu(): string | undefined {
  const why = lackOf();
  if (why !== undefined) process.stderr.write(`not run, needs guests on QEMU: ${why}\n`);
  return why;
}

function lackOf(): string | undefined {
  if (process.getuid?.() !== 0) return "not root";
  const missing = PROGRAMS.filter(
    (name) => spawnSync("sh", ["-c", `PATH=$PATH:/usr/sbin command -v ${name}`]).status !== 0,
  );
  if (missing.length > 0) return `not installed: ${missing.join(", ")}`;
  const mount = spawnSync("unshare", ["--mount", "--net", "--", "true"], { encoding: "utf8" });
  return mount.status === 0 ? undefined : `no namespaces: ${mount.stderr.trim()}`;
}

/** Networks that wire everything to user networking, and remember who uses what. */
export class RecordedNetworks implements HostNetworks {
  /** Of this machine alone: tests run side by side, in processes and within one. */
  readonly address = ownAddress();
  readonly uses = new Map<string, string[]>();
  /** What the next interfaces get to hear. */
  fault: string | undefined;
  /** What is thrown when a VM is to be released: a crash at this place. */
  broken: string | undefined;

  async attach(vm: string, nic: GuestNic) {
    if (this.fault !== undefined) return err({ reason: this.fault });
    const own = this.uses.get(vm) ?? [];
    this.uses.set(vm, [...new Set([...own, nic.mac])]);
    const port = 42_000 + (Number.parseInt(nic.mac.slice(-2), 16) % 100);
    return ok<NicWiring>({ kind: "user", forward: { address: this.address, port } });
  }

  async release(vm: string): Promise<void> {
    if (this.broken !== undefined) throw new Error(this.broken);
    this.uses.delete(vm);
  }

  async reconcile(vms: ReadonlySet<string>): Promise<void> {
    for (const vm of this.uses.keys()) if (!vms.has(vm)) this.uses.delete(vm);
  }

  readonly underlay = undefined;

  async abilities() {
    return { abilities: ["user"], bridges: [], lacks: [] };
  }

  async learn(): Promise<void> {}

  accessOf(): undefined {
    return undefined;
  }
}

let machines = 0;

/** A loopback address that no other machine under test has. */
function ownAddress(): string {
  machines += 1;
  return `127.51.${128 + ((process.pid >> 7) % 128)}.${1 + (((process.pid % 128) * 2 + machines) % 254)}`;
}

/** A disk of one MiB that boots nothing: its guest halts in the firmware, which is running enough. */
export const BLANK_DISK = Buffer.alloc(1 << 20, 0x4d);

export class QemuMachine {
  readonly folder = mkdtempSync(join(tmpdir(), "muster-q-"));
  readonly state = join(this.folder, "state");
  readonly networks = new RecordedNetworks();
  /** Requests that the source of images got. */
  fetches = 0;
  /** The source of images takes the question and says nothing. */
  isSilent = false;
  readonly #connections: Hypervisor[] = [];
  #daemon: PrivateDaemon;
  #behind: Libvirt;
  #server: Server;

  /** libvirt's privileged driver; or, where a user is named, their session's. */
  static async start(user?: { readonly uid: number; readonly gid: number }): Promise<QemuMachine> {
    const folder = mkdtempSync(join(tmpdir(), "mlv-"));
    const mode =
      user === undefined ? ({ mode: "system", cacheDir: CACHE_DIR } as const) : ({ mode: "session", user } as const);
    const daemon = await startQemuDaemon({ stateDir: folder, ...mode });
    const behind = await Libvirt.open({ socketPath: daemon.socketPath, uri: daemon.uri });
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.51.0.1", resolve));
    return new QemuMachine(folder, daemon, behind, server);
  }

  readonly #libvirtFolder: string;

  private constructor(libvirtFolder: string, daemon: PrivateDaemon, behind: Libvirt, server: Server) {
    this.#libvirtFolder = libvirtFolder;
    this.#daemon = daemon;
    this.#behind = behind;
    this.#server = server;
    mkdirSync(this.state);
    server.on("request", (_request, response) => {
      this.fetches += 1;
      if (!this.isSilent) response.end(BLANK_DISK);
    });
  }

  /** libvirt, past the host manager. */
  get behind(): Libvirt {
    return this.#behind;
  }

  get daemon(): PrivateDaemon {
    return this.#daemon;
  }

  connect(more: Partial<LibvirtGuestsOptions> = {}): Hypervisor {
    const { socketPath, uri } = this.#daemon;
    const guests = new LibvirtGuests({ ...this.guestOptions(), ...more });
    const times = { readMs: 5_000, orderMs: 30_000 };
    const connection = libvirtHypervisor({ clock: systemClock, rng: systemRng, socketPath, uri, ...times, guests });
    this.#connections.push(connection);
    return connection;
  }

  guestOptions(): LibvirtGuestsOptions {
    return {
      clock: systemClock,
      state: this.state,
      networks: this.networks,
      virtType: "qemu",
      probeMs: 1_000,
      cacheBytes: 2 ** 30,
      fetch: { fetchMs: 10_000, stallMs: 5_000 },
      stopMs: 100,
      uefi: { code: "/usr/share/OVMF/OVMF_CODE_4M.fd", variables: "/usr/share/OVMF/OVMF_VARS_4M.fd" },
      tbCacheMiB: 32,
      gpus: [],
      migration: { address: "127.51.0.1", performMs: 60_000 },
    };
  }

  /** An image that this machine serves. */
  image(): GuestImage {
    const { port } = this.#server.address() as AddressInfo;
    return {
      digest: `sha256:${createHash("sha256").update(BLANK_DISK).digest("hex")}`,
      format: "raw",
      bytes: BLANK_DISK.length,
      virtualMiB: 1,
      urls: [`http://127.51.0.1:${port}/image?ticket=s3cret`],
    };
  }

  /** A real guest, small and with one interface. */
  plan(number: number, attempt = 1, more: Partial<CommandSubject["spec"]> = {}): DomainPlan {
    const base = subject();
    const spec = { ...base.spec, memoryMiB: 64, diskGiB: 1, userData: "#!/bin/sh\necho s3cret\n", ...more };
    return {
      vm: vmId(number),
      attempt,
      subject: { ...base, spec, guest: { image: this.image(), nics: [nic(number)] } },
    };
  }

  /** What there is of guests, wherever it might lie: domains, folders, network uses. */
  async left(): Promise<{ domains: string[]; folders: string[]; uses: string[] }> {
    const domains = await this.#behind.domains.list();
    const folder = join(this.state, "guests");
    return {
      domains: domains.map(({ name }) => name),
      folders: existsSync(folder) ? readdirSync(folder) : [],
      uses: [...this.networks.uses.keys()],
    };
  }

  /** libvirtd ends and is started anew; its guests go on. */
  async restart(): Promise<void> {
    await this.#behind.close();
    await this.#daemon.stop();
    this.#daemon = await startQemuDaemon({ stateDir: this.#libvirtFolder, mode: "system", cacheDir: CACHE_DIR });
    this.#behind = await Libvirt.open({ socketPath: this.#daemon.socketPath, uri: this.#daemon.uri });
  }

  async remove(): Promise<void> {
    await Promise.all(this.#connections.map((connection) => connection.close()));
    for (const domain of await this.#behind.domains.list({ active: true })) await this.#behind.domains.destroy(domain);
    await this.#behind.close();
    await this.#daemon.stop();
    killGuests(join(this.#libvirtFolder, "run", "qemu"));
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    for (const folder of [this.folder, this.#libvirtFolder]) {
      rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
    }
  }
}

export function nic(number: number, more: Partial<GuestNic> = {}): GuestNic {
  const mac = `52:54:00:00:00:${number.toString(16).padStart(2, "0")}`;
  return { network: "lan", attachment: "user", mac, mtu: 1_450, addressing: "dhcp", ...more };
}

/** Guests outlive their daemon; each has left its process id. */
function killGuests(folder: string): void {
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    if (!name.endsWith(".pid")) continue;
    const pid = Number(readFileSync(join(folder, name), "utf8"));
    const words = existsSync(`/proc/${pid}/cmdline`) ? readFileSync(`/proc/${pid}/cmdline`, "utf8") : "";
    if (words.includes("qemu")) process.kill(pid, "SIGKILL");
  }
}
