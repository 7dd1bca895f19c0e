import type { CallOptions } from "../connection/connection.ts";
import { type OpenOptions, openConnection } from "../connection/handshake.ts";
import { registrationProcedures } from "../table/connect.ts";
import { domainProcedures as rows } from "../table/domain.ts";
import { eventByNumber, eventKinds } from "../table/event.ts";
import { decode } from "../xdr/decode.ts";
import { DomainConsole } from "./domain-console.ts";
import { lifecycleEvent } from "./domain-state.ts";
import { type DomainRef, flags, wireDomain } from "./wire.ts";

/** Which console to open, and what of others at it. */
export interface ConsoleOptions extends CallOptions {
  /** Alias of the device, such as `serial0`; the first console where it is not given. */
  readonly device?: string;
  /** Takes the console from whoever is at it. */
  readonly force?: boolean;
  /** Refuses where the driver cannot keep two from being at it. */
  readonly safe?: boolean;
}

/** Serial and paravirtual consoles of running domains. */
export class Consoles {
  readonly #options: OpenOptions;

  constructor(options: OpenOptions) {
    this.#options = options;
  }

  /**
   * Opens a console over a connection of its own, so that one which nobody reads holds up nothing else. Rejects with a
   * `CallFault`: libvirt's `operationFailed` where somebody is at it already, `operationInvalid` where the domain is stopped.
   */
  async open(ref: DomainRef, options: ConsoleOptions = {}): Promise<DomainConsole> {
    const { device, force, safe, ...call } = options;
    // What comes before the console is there to take it: the daemon answers first, so there is at most a chunk of it.
    const early: ((opened: DomainConsole) => void)[] = [];
    let opened: DomainConsole | undefined;
    const tell = (act: (opened: DomainConsole) => void) => {
      if (opened === undefined) early.push(act);
      else act(opened);
    };
    const keepalive = { intervalMs: 0, count: 0 };
    const lost = (fault: Error) => tell((one) => void one.destroy(one.readableEnded ? undefined : fault));
    const message = (procedure: number, body: Buffer) => {
      if (isEnd(procedure, body)) tell((one) => one.finish());
    };
    const connection = await openConnection({ ...this.#options, keepalive }, { lost, message });
    try {
      // The daemon keeps a console open whose guest has ended, and says nothing on it any more: the event tells.
      const filter = { event: eventKinds[LIFECYCLE].id, filter: wireDomain(ref) };
      await connection.call(registrationProcedures.connectDomainEventCallbackRegisterAny, filter, call);
      const args = { domain: wireDomain(ref), device: device ?? null, flags: flags([force, 0], [safe, 1]) };
      const hooks = {
        data: (bytes: Buffer) => tell((one) => one.receive(bytes)),
        end: (fault?: Parameters<DomainConsole["finish"]>[0]) => tell((one) => one.finish(fault)),
      };
      const stream = await connection.openStream(rows.domainOpenConsole, args, hooks, call);
      const made = new DomainConsole(connection, stream);
      opened = made;
      for (const act of early.splice(0)) act(made);
      return made;
    } catch (error) {
      connection.destroy("the console could not be opened");
      throw error;
    }
  }
}

const LIFECYCLE = "domain.lifecycle";

/** Whether a message says that the domain it is about has ended. */
function isEnd(procedure: number, body: Buffer): boolean {
  if (eventByNumber(procedure) !== LIFECYCLE) return false;
  const { event, detail } = decode(eventKinds[LIFECYCLE].body, body);
  return ["stopped", "crashed"].includes(lifecycleEvent(event, detail).event);
}
