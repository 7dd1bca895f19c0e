import { Client, type ClientOptions } from "./client/client.ts";
import { Domains } from "./facade/domains.ts";
import { Metadata } from "./facade/metadata.ts";

/**
 * A hypervisor behind a libvirt daemon. `open` connects; the parts group the calls by what they are about; `call`
 * makes any call of the table; `subscribe` takes any event of it.
 */
export class Libvirt extends Client {
  readonly domains: Domains;
  readonly metadata: Metadata;

  /** Opens the hypervisor over three connections. Rejects with a `CallFault` and leaves nothing open where that fails. */
  static async open(options: ClientOptions): Promise<Libvirt> {
    const libvirt = new Libvirt(options);
    await libvirt.connect();
    return libvirt;
  }

  private constructor(options: ClientOptions) {
    super(options);
    this.domains = new Domains(this);
    this.metadata = new Metadata(this);
  }
}
