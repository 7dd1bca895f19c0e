import { backoffMs, type CancelTimer, type Clock, type Rng } from "@muster/base";
import { type PrivateDaemon, startEmbeddedDaemon } from "node-libvirt";

export type EmbeddedOptions = {
  readonly folder: string;
  readonly clock: Clock;
  readonly rng: Rng;
  /** Told when the daemon ended by itself; it is started again. */
  readonly onEnd: (reason: string) => void;
};

/** A private libvirtd with libvirt's test driver, kept running. Its VMs are in its memory: they end with it. */
export type EmbeddedHypervisor = { readonly socketPath: string; readonly uri: string; stop(): Promise<void> };

const RESTART_MS = 100;
const RESTART_MS_MAX = 10_000;

/** Rejects with `DaemonFailed` when the daemon cannot be started at all. */
export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedHypervisor> {
  const { folder, clock, rng, onEnd } = options;
  let stopping = false;
  let failures = 0;
  let cancel: CancelTimer = () => {};
  let daemon = await startEmbeddedDaemon({ stateDir: folder });
  const again = (reason: string): void => {
    if (stopping) return;
    onEnd(reason);
    const delayMs = backoffMs({ attempt: failures, baseMs: RESTART_MS, maxMs: RESTART_MS_MAX }, rng);
    failures += 1;
    cancel = clock.setTimer(delayMs, () => void restart());
  };
  const watch = (running: PrivateDaemon): void => {
    void running.exited.then(({ code, signal }) => again(signal === null ? `exit code ${code}` : `signal ${signal}`));
  };
  const restart = async (): Promise<void> => {
    try {
      daemon = await startEmbeddedDaemon({ stateDir: folder });
      if (stopping) await daemon.stop();
      failures = 0;
      watch(daemon);
    } catch (cause) {
      again(cause instanceof Error ? cause.message : String(cause));
    }
  };
  watch(daemon);
  return {
    socketPath: daemon.socketPath,
    uri: daemon.uri,
    async stop() {
      stopping = true;
      cancel();
      await daemon.stop();
    },
  };
}
