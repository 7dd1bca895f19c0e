import { type PrivateDaemon, startEmbeddedDaemon } from "node-libvirt";
import type { HostFolder } from "../state/state-folder.ts";

/** The daemon behind a host, whichever hypervisor it drives. */
export type HostDaemon = PrivateDaemon;

/** What a host is besides its host manager: its daemon, and what that one needs around it. */
export type HostMachine = {
  /** Also after the daemon died: what is there already stays. */
  start(): Promise<HostDaemon>;
  /** Stops the daemon and everything else of the machine; `daemon` is the one that runs, if any does. */
  stop(daemon: HostDaemon | undefined): Promise<void>;
};

/** A machine of libvirt's test driver, whose VMs are in the daemon's memory. */
export function testMachine(folder: HostFolder): HostMachine {
  return {
    start: () => startEmbeddedDaemon({ stateDir: folder.hypervisor }),
    stop: async (daemon) => daemon?.stop(),
  };
}
