import { Client, type ClientOptions } from "./client/client.ts";
import { Consoles } from "./facade/consoles.ts";
import { Domains } from "./facade/domains.ts";
import { Metadata } from "./facade/metadata.ts";
import { Migration } from "./facade/migration.ts";
import { Networks } from "./facade/networks.ts";
import { Node } from "./facade/node.ts";
import { Pools } from "./facade/pools.ts";
import { Resources } from "./facade/resources.ts";
import { Saves } from "./facade/saves.ts";
import { Snapshots } from "./facade/snapshots.ts";
import { Volumes } from "./facade/volumes.ts";

/**
 * A hypervisor behind a libvirt daemon. `open` connects; the parts group the calls by what they are about; `call`
 * makes any call of the table; `subscribe` takes any event of it.
 */
export class Libvirt extends Client {
  readonly node = new Node(this);
  readonly domains = new Domains(this);
  readonly metadata = new Metadata(this);
  readonly resources = new Resources(this);
  readonly snapshots = new Snapshots(this);
  readonly saves = new Saves(this);
  readonly networks = new Networks(this);
  readonly pools = new Pools(this);
  readonly volumes = new Volumes(this);
  readonly migration = new Migration(this);
  readonly consoles: Consoles;

  /** Opens the hypervisor over three connections. Rejects with a `CallFault` and leaves nothing open where that fails. */
  static async open(options: ClientOptions): Promise<Libvirt> {
    const libvirt = new Libvirt(options);
    await libvirt.connect();
    return libvirt;
  }

  private constructor(options: ClientOptions) {
    super(options);
    this.consoles = new Consoles(options);
  }
}
