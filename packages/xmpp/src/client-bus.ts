import { X509Certificate } from "node:crypto";
import { connect as connectTls, createSecureContext, type SecureContext } from "node:tls";
import { type Authenticate, type Client, client } from "@xmpp/client";
import type { Bus } from "./bus.ts";
import { enrol } from "./enrol.ts";
import { EntityLink } from "./entity-link.ts";
import type { Connector } from "./link.ts";
import { type Dial, LinkSocket } from "./link-socket.ts";
import { SUPERVISOR_TIMES } from "./link-state.ts";
import { type BusOptions, linkedBus } from "./linked-bus.ts";
import { scramMechanism } from "./scram.ts";
import { tameEntity } from "./tame-entity.ts";
import { explainTlsError } from "./tls-fault.ts";

export type XmppClientOptions = BusOptions & {
  /** `xmpps://host:port`: direct TLS (XEP-0368). The certificate has to name `domain`, wherever the server stands. */
  readonly service: string;
  readonly domain: string;
  readonly username: string;
  readonly password: string;
  readonly resource: string;
  /** Certificates that may sign the server's, for this connection only; without it, the system's. */
  readonly caPem?: string;
  /**
   * Single-use token (XEP-0445) with which the account is registered (XEP-0077) before the first login. Left in place
   * afterwards it does no harm: an account that can log in does.
   */
  readonly enrolToken?: string;
};

/** A Bus over a client account of a real server. Throws when `service` is no `xmpps://host:port` or `caPem` no certificate. */
export function xmppClientBus(options: XmppClientOptions): Bus {
  const account = `${options.username}@${options.domain}`;
  return linkedBus({ kind: "client", account }, clientConnector(options), options);
}

function clientConnector(options: XmppClientOptions): Connector {
  const server = readServer(options);
  const enrolment = { done: options.enrolToken === undefined };
  // An entity whose session the server may still hold (XEP-0198); used once more, then it has to prove itself again.
  let resumable: Client | undefined;
  return (listener) => {
    const entity = resumable ?? makeClient(options, server, enrolment);
    resumable = undefined;
    const { service, domain } = options;
    const { streamManagement } = entity;
    const onReusable = (): void => {
      resumable = entity;
    };
    return new EntityLink({ entity, service, domain, streamManagement, onReusable }, listener);
  };
}

/** Takes the library's SCRAM out in favour of ours; the strongest that both sides know comes first. */
function useNativeScram(entity: Client): void {
  const { saslFactory } = entity;
  saslFactory._mechs = saslFactory._mechs.filter(({ name }) => !name.startsWith("SCRAM-"));
  const others = saslFactory._mechs.splice(0);
  saslFactory.use("SCRAM-SHA-256", scramMechanism("SCRAM-SHA-256"));
  saslFactory.use("SCRAM-SHA-1", scramMechanism("SCRAM-SHA-1"));
  saslFactory._mechs.push(...others);
}

type Server = { readonly host: string; readonly port: number; readonly trust: SecureContext };

function makeClient(options: XmppClientOptions, server: Server, enrolment: { done: boolean }): Client {
  const { service, domain, username, password, resource, enrolToken } = options;
  const login = async (authenticate: Authenticate, mechanisms: readonly string[]): Promise<void> => {
    const logIn = (): Promise<void> => authenticate({ username, password }, mechanisms[0]);
    if (enrolToken === undefined || enrolment.done) return logIn();
    await enrol({ entity, domain, username, password, token: enrolToken, timeoutMs: openWithinMs(options) }, logIn);
    enrolment.done = true;
  };
  const entity = client({ service, domain, resource, username, credentials: login });
  tameEntity(entity, openWithinMs(options));
  // Our own watchdog decides when a link is dead.
  entity.streamManagement.timeout = 0;
  useNativeScram(entity);
  pinTransport(entity, options, server);
  return entity;
}

/** Leaves one transport: direct TLS with our socket, our certificates and the domain as the name to be proved. */
function pinTransport(entity: Client, { domain }: XmppClientOptions, { host, port, trust }: Server): void {
  const Tls = entity.transports.find((transport) => transport.prototype.socketParameters("xmpps://host") !== undefined);
  if (Tls === undefined) throw new Error("xmpp.js offers no transport for direct TLS");
  const dial: Dial = () => {
    const identity = { servername: domain, ALPNProtocols: ["xmpp-client"], secureContext: trust };
    return { socket: connectTls({ host, port, ...identity }), ready: "secureConnect", explain: explainTlsError };
  };
  class PinnedSocket extends LinkSocket {
    constructor() {
      super(dial, true);
    }
  }
  class Pinned extends Tls {}
  Object.assign(Pinned.prototype, { Socket: PinnedSocket, socketParameters: () => ({}) });
  entity.transports = [Pinned];
}

function openWithinMs(options: XmppClientOptions): number {
  return options.times?.openWithinMs ?? SUPERVISOR_TIMES.openWithinMs;
}

function readServer({ service, caPem }: XmppClientOptions): Server {
  const url = URL.canParse(service) ? new URL(service) : undefined;
  if (url?.protocol !== "xmpps:" || url.hostname === "") {
    throw new Error(`service must be xmpps://host:port (direct TLS), not ${service}`);
  }
  // Node takes a text without certificates for a list of none; the mistake would show only as a server not trusted.
  if (caPem !== undefined) new X509Certificate(caPem);
  return {
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: url.port === "" ? 5223 : Number(url.port),
    trust: createSecureContext({ minVersion: "TLSv1.2", ...(caPem === undefined ? {} : { ca: caPem }) }),
  };
}
