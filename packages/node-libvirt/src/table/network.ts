import { array, hyper, int, struct, uint, uuid } from "../xdr/schema.ts";
import { Limit, maybeText, name, network } from "./fields.ts";
import { job, Program, procedures, read } from "./procedure.ts";

const lease = struct({
  interface: name,
  expiresAtS: hyper,
  type: int,
  mac: maybeText,
  iaid: maybeText,
  address: name,
  prefix: uint,
  hostname: maybeText,
  clientId: maybeText,
});

/** Virtual networks and what their DHCP servers gave out. */
export const networkProcedures = procedures(Program.remote, {
  connectListAllNetworks: read(
    283,
    { needResults: int, flags: uint },
    { networks: array(network, Limit.listItems), count: uint },
  ),
  networkLookupByName: read(46, { name }, { network }),
  networkLookupByUuid: read(47, { uuid }, { network }),
  networkGetXmlDesc: read(43, { network, flags: uint }, { xml: name }),
  networkGetAutostart: read(44, { network }, { autostart: int }),
  networkGetBridgeName: read(45, { network }, { bridge: name }),
  networkIsActive: read(152, { network }, { active: int }),
  networkIsPersistent: read(153, { network }, { persistent: int }),
  networkGetDhcpLeases: read(
    341,
    { network, mac: maybeText, needResults: int, flags: uint },
    { leases: array(lease, Limit.leases), count: uint },
  ),
  networkCreate: job(39, { network }, {}),
  networkCreateXml: job(40, { xml: name }, { network }),
  networkDefineXml: job(41, { xml: name }, { network }),
  networkDestroy: job(42, { network }, {}),
  networkSetAutostart: job(48, { network, autostart: int }, {}),
  networkUndefine: job(49, { network }, {}),
  networkUpdate: job(291, { network, command: uint, section: uint, parentIndex: int, xml: name, flags: uint }, {}),
});
