import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Result, systemClock } from "@muster/base";
import {
  type Account,
  certificateNames,
  cloudDomain,
  describeServerFault,
  EjabberdServer,
  type EjabberdServerOptions,
  type EjabberdSite,
  ejabberdFiles,
  ensureAuthority,
  ensureSiteCertificate,
  findRunAs,
  type PrivateAuthority,
  ProsodyServer,
  type ProsodyServerOptions,
  type ProsodySite,
  type RunAs,
  type ServerFault,
  type SiteCertificate,
  siteFiles,
} from "../index.ts";
import { linkComponent, logIn, openClient, openPeer, type RawStream, type RawTarget } from "./raw-stream.ts";

export const SECRET = "a secret known to the tests";

/** Real servers below one temporary folder, with one authority; `close` leaves nothing behind. */
export class TestSites {
  readonly folder: string;
  readonly runAs: RunAs;
  readonly authority: PrivateAuthority;
  readonly #sites: TestSite<SiteServer>[] = [];
  readonly #servers: ProsodyServer[] = [];

  private constructor(folder: string, runAs: RunAs, authority: PrivateAuthority) {
    this.folder = folder;
    this.runAs = runAs;
    this.authority = authority;
  }

  static async create(): Promise<TestSites> {
    const folder = await mkdtemp(join(tmpdir(), "xmpp-server-"));
    await chmod(folder, 0o755);
    return new TestSites(
      folder,
      must(await findRunAs("prosody")),
      must(await ensureAuthority(join(folder, "ca"), systemClock)),
    );
  }

  /** A certificate for any names, of this authority or another. */
  async certificate(
    folder: string,
    names: readonly string[],
    authority = this.authority,
    runAs = this.runAs,
  ): Promise<SiteCertificate> {
    const options = { authority, folder: join(this.folder, folder), names, runAs };
    return must(await ensureSiteCertificate(options, systemClock));
  }

  /** A site with a manager called `a`, not started. */
  async site(
    domain: string,
    address: string,
    change: Partial<ProsodySite> & {
      readonly accounts?: readonly Account[];
      readonly authority?: PrivateAuthority;
    } = {},
  ): Promise<TestSite<ProsodyServer>> {
    const { accounts = [], authority, ...changes } = change;
    const folder = join(this.folder, domain);
    const tls = await this.certificate(`${domain}/certs`, certificateNames(domain), authority);
    const managers = [{ name: "a", secret: SECRET }];
    const site = { domain, address, folder, cloudSecret: SECRET, managers, peers: [], names: [], tls, ...changes };
    const ca = await readFile(tls.caPath);
    const made = new TestSite(site, new ProsodyServer({ site, accounts }), ca);
    this.#sites.push(made);
    return made;
  }

  /** The same on ejabberd. */
  async ejabberd(
    domain: string,
    address: string,
    change: Partial<EjabberdSite> & Omit<Partial<EjabberdServerOptions>, "site"> = {},
  ): Promise<TestSite<EjabberdServer>> {
    const { accounts = [], user, modulesFolder, startTimeoutMs, stopTimeoutMs, clock, ...changes } = change;
    const options = { accounts, user, modulesFolder, startTimeoutMs, stopTimeoutMs, clock };
    const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
    const runAs = must(await findRunAs("ejabberd"));
    const tls = await this.certificate(`${domain}/certs`, certificateNames(domain), this.authority, runAs);
    const managers = [{ name: "a", secret: SECRET }];
    const folder = join(this.folder, domain);
    const names = [{ address, names: certificateNames(domain) }];
    const site = { domain, address, folder, cloudSecret: SECRET, managers, peers: [], names, tls, ...changes };
    const made = new TestSite(site, new EjabberdServer({ ...given, site }), await readFile(tls.caPath));
    this.#sites.push(made);
    return made;
  }

  /** A server with options of its own, stopped at the end like the others. */
  server(options: ProsodyServerOptions): ProsodyServer {
    const server = new ProsodyServer(options);
    this.#servers.push(server);
    return server;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#sites.map((site) => site.close()), ...this.#servers.map((server) => server.stop())]);
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** What both servers promise. */
export type SiteServer = Pick<ProsodyServer, "start" | "stop" | "ensureAccount" | "removeAccount" | "pid" | "onExit">;

/** One site with the streams that a test opened to it. */
export class TestSite<Server extends SiteServer = ProsodyServer> {
  readonly site: EjabberdSite;
  readonly server: Server;
  readonly cloud: string;
  readonly #ca: Buffer;
  readonly #streams: RawStream[] = [];

  constructor(site: EjabberdSite, server: Server, ca: Buffer) {
    this.site = site;
    this.server = server;
    this.cloud = cloudDomain(site.domain);
    this.#ca = ca;
  }

  target(port: number): RawTarget {
    return { address: this.site.address, port, ca: this.#ca };
  }

  async start(): Promise<this> {
    must(await this.server.start());
    return this;
  }

  component(domain = this.cloud): Promise<RawStream> {
    return this.#keep(linkComponent(this.target(5347), domain, SECRET));
  }

  stranger(): Promise<RawStream> {
    return this.#keep(openClient(this.target(5223), this.site.domain));
  }

  client(name: string, password: string): Promise<RawStream> {
    return this.#keep(logIn(this.target(5223), this.site.domain, name, password));
  }

  /** A stream as another site's server. */
  async peer(from: string, certificate: SiteCertificate, to = this.cloud): Promise<RawStream> {
    const [cert, key] = await Promise.all([readFile(certificate.certificatePath), readFile(certificate.keyPath)]);
    return await this.#keep(openPeer(this.target(5269), { from, to }, { cert, key }));
  }

  log(): Promise<string> {
    const files = this.server instanceof EjabberdServer ? ejabberdFiles : siteFiles;
    return readFile(files(this.site.folder).log, "utf8");
  }

  async close(): Promise<void> {
    for (const stream of this.#streams) stream.close();
    await this.server.stop();
  }

  async #keep(opening: Promise<RawStream>): Promise<RawStream> {
    const stream = await opening;
    this.#streams.push(stream);
    return stream;
  }
}

/** The value of an operation that has to succeed in a test. */
export function must<Value>(result: Result<Value, ServerFault>): Value {
  if (!result.ok) throw new Error(describeServerFault(result.error));
  return result.value;
}
