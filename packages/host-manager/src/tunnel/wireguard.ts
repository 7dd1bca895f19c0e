/**
 * The carrier of a tunnel: one WireGuard interface for each end, by the kernel, or by wireguard-go where the kernel has none.
 *
 * It is made where the host manager is, so that its packets go by the host's own routes, and then moved into a namespace of
 * its own: what comes out of it meets nothing of the host's, no service and no route, whatever the other end sends.
 */
import { spawn } from "node:child_process";
import {
  type Clock,
  err,
  identityOf,
  isRunning,
  ok,
  type ProcessIdentity,
  type Result,
  signalProcess,
} from "@muster/base";
import type { TunnelEnd } from "@muster/protocol";
import { IpLink } from "../network/ip-link.ts";
import { runProgram } from "../network/run-program.ts";
import { runWithInput } from "./run-with-input.ts";

export type Carrier = "kernel" | "wireguard-go";

/** One end's interface as it is to be. */
export type WireGuardPlan = {
  readonly name: string;
  readonly namespace: string;
  readonly privateKey: string;
  readonly port: number;
  readonly mtu: number;
  /** Addresses of both ends inside the tunnel; nothing else is taken from the other one, or sent to it. */
  readonly own: string;
  readonly other: string;
  readonly peer?: TunnelEnd | undefined;
};

/** Keeps the way through NAT open, and finds it anew after a change of address. */
const KEEPALIVE_SECONDS = 15;
const MADE_MS = 10_000;
const ENDED_MS = 5_000;
const LOOK_MS = 20;

export class WireGuard {
  readonly #clock: Clock;
  readonly #carrier: Carrier;
  readonly #machine = new IpLink();
  /** Where it is made, so that its packets go by the routes there. */
  readonly #outside: IpLink;
  readonly #exec: readonly string[];

  /** `outside`: namespace whose routes lead to the other sites, where that is not the host manager's. */
  constructor(clock: Clock, carrier: Carrier, outside?: string) {
    this.#clock = clock;
    this.#carrier = carrier;
    this.#outside = new IpLink(outside);
    this.#exec = outside === undefined ? [] : ["ip", ...inNamespace(outside)];
  }

  /** Makes what is missing. Returns the process that carries it, where that is one; `spawned` hears of a new one at once. */
  async ensure(
    plan: WireGuardPlan,
    carrier: ProcessIdentity | undefined,
    spawned: (process: ProcessIdentity) => void,
  ): Promise<Result<void, string>> {
    const { name, namespace, mtu, own } = plan;
    const inside = new IpLink(namespace);
    const here = await hasNamespace(namespace);
    if (!here.ok) return here;
    if (!here.value) {
      const added = await this.#machine.run(["netns", "add", namespace]);
      if (!added.ok) return added;
    }
    const present = await inside.find(name);
    if (!present.ok) return present;
    if (present.value === undefined) {
      const made = await this.#make(name, namespace, carrier, spawned);
      if (!made.ok) return made;
    }
    const set = await this.#configure(plan);
    if (!set.ok) return set;
    return inside.run(
      ["link", "set", name, "addrgenmode", "none"],
      ["addr", "replace", `${own}/30`, "dev", name],
      ["link", "set", name, "mtu", String(mtu), "up"],
    );
  }

  async #make(
    name: string,
    namespace: string,
    carrier: ProcessIdentity | undefined,
    spawned: (process: ProcessIdentity) => void,
  ): Promise<Result<void, string>> {
    const left = await this.#outside.find(name);
    if (!left.ok) return left;
    if (left.value === undefined) {
      const made = await (this.#carrier === "kernel"
        ? this.#outside.run(["link", "add", name, "type", "wireguard"])
        : this.#spawn(name, carrier, spawned));
      if (!made.ok) return made;
    }
    return this.#outside.run(["link", "set", name, "netns", namespace]);
  }

  /** wireguard-go outlives the host manager, as the guests do. */
  async #spawn(
    name: string,
    before: ProcessIdentity | undefined,
    spawned: (process: ProcessIdentity) => void,
  ): Promise<Result<void, string>> {
    if (before !== undefined) await this.#end(before);
    const [program = "wireguard-go", ...args] = [...this.#exec, "wireguard-go", "-f", name];
    const child = spawn(program, args, {
      detached: true,
      stdio: "ignore",
      env: { ...process.env, LOG_LEVEL: "silent" },
    });
    let fault: string | undefined;
    child.on("error", (cause) => {
      fault = cause.message;
    });
    child.on("exit", (code) => {
      fault = `it ended with ${code}`;
    });
    child.unref();
    const identity = child.pid === undefined ? undefined : identityOf(child.pid);
    if (identity !== undefined) spawned(identity);
    const deadlineMs = this.#clock.nowMs() + MADE_MS;
    for (;;) {
      const [link, control] = [await this.#outside.find(name), await runProgram("wg", ["show", name, "listen-port"])];
      if (link.ok && link.value !== undefined && control.ok) return ok(undefined);
      if (fault !== undefined) return err(`wireguard-go: ${fault}`);
      if (this.#clock.nowMs() >= deadlineMs) {
        if (identity !== undefined) await this.#end(identity);
        return err(`wireguard-go did not make ${name} in ${MADE_MS / 1_000} s`);
      }
      await this.#pause();
    }
  }

  /** The key goes by standard input: it is in no argument and no file (S3). What stays the same is not disturbed. */
  async #configure({ name, namespace, privateKey, port, other, peer }: WireGuardPlan): Promise<Result<void, string>> {
    const lines = ["[Interface]", `PrivateKey = ${privateKey}`, `ListenPort = ${port}`];
    if (peer !== undefined) {
      lines.push("[Peer]", `PublicKey = ${peer.publicKey}`, `AllowedIPs = ${other}/32`);
      lines.push(`PersistentKeepalive = ${KEEPALIVE_SECONDS}`);
      if (peer.endpoint !== undefined) lines.push(`Endpoint = ${endpointText(peer.endpoint)}`);
    }
    return runWithInput(
      "ip",
      [...inNamespace(namespace), "wg", "syncconf", name, "/dev/stdin"],
      `${lines.join("\n")}\n`,
    );
  }

  /** Whether it is there and carried; says nothing about the other end. */
  isCarried(carrier: ProcessIdentity | undefined): boolean {
    return this.#carrier === "kernel" || (carrier !== undefined && isRunning(carrier));
  }

  /** How long ago the other end was last heard by a handshake, in milliseconds. */
  async heardMs(name: string, namespace: string): Promise<number | undefined> {
    const shown = await runProgram("ip", [...inNamespace(namespace), "wg", "show", name, "latest-handshakes"]);
    if (!shown.ok) return undefined;
    const atSeconds = Number(shown.value.trim().split(/\s+/)[1] ?? 0);
    return atSeconds > 0 ? Math.max(0, this.#clock.wallMs() - atSeconds * 1_000) : undefined;
  }

  /** Takes the interface away with its namespace, and with the process that carried it. */
  async remove(name: string, namespace: string, carrier: ProcessIdentity | undefined): Promise<Result<void, string>> {
    const here = await hasNamespace(namespace);
    if (!here.ok) return here;
    if (here.value) {
      const gone = await this.#machine.run(["netns", "del", namespace]);
      if (!gone.ok) return gone;
    }
    const left = await this.#outside.find(name);
    if (!left.ok) return left;
    if (left.value !== undefined) {
      const gone = await this.#outside.run(["link", "del", name]);
      if (!gone.ok) return gone;
    }
    if (carrier !== undefined) await this.#end(carrier);
    return ok(undefined);
  }

  async #end(carrier: ProcessIdentity): Promise<void> {
    signalProcess(carrier, "SIGTERM");
    const deadlineMs = this.#clock.nowMs() + ENDED_MS;
    while (isRunning(carrier)) {
      if (this.#clock.nowMs() >= deadlineMs) signalProcess(carrier, "SIGKILL");
      await this.#pause();
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => void this.#clock.setTimer(LOOK_MS, resolve));
  }
}

/** Arguments of ip(8) that run a program in a namespace, or where the host manager is. */
export function inNamespace(namespace: string): readonly string[] {
  return ["netns", "exec", namespace];
}

async function hasNamespace(name: string): Promise<Result<boolean, string>> {
  const listed = await namespaces();
  return listed.ok ? ok(listed.value.includes(name)) : listed;
}

/** All named network namespaces of this machine (ip-netns(8)). */
export async function namespaces(): Promise<Result<readonly string[], string>> {
  const listed = await runProgram("ip", ["netns", "list"]);
  if (!listed.ok) return listed;
  return ok(
    listed.value
      .split("\n")
      .flatMap((line) => line.split(" ", 1))
      .filter((name) => name !== ""),
  );
}

function endpointText({ address, port }: NonNullable<TunnelEnd["endpoint"]>): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
