import { array, int, uhyper, uint, uuid } from "../xdr/schema.ts";
import { Limit, maybeText, name, pool, volume } from "./fields.ts";
import { job, Program, procedures, read } from "./procedure.ts";

/** Storage pools. */
export const poolProcedures = procedures(Program.remote, {
  connectListAllStoragePools: read(
    281,
    { needResults: int, flags: uint },
    { pools: array(pool, Limit.listItems), count: uint },
  ),
  connectFindStoragePoolSources: job(75, { type: name, source: maybeText, flags: uint }, { xml: name }),
  storagePoolLookupByName: read(84, { name }, { pool }),
  storagePoolLookupByUuid: read(85, { uuid }, { pool }),
  storagePoolLookupByVolume: read(86, { volume }, { pool }),
  storagePoolLookupByTargetPath: read(391, { path: name }, { pool }),
  storagePoolGetInfo: read(
    87,
    { pool },
    { state: uint, capacityBytes: uhyper, allocationBytes: uhyper, availableBytes: uhyper },
  ),
  storagePoolGetXmlDesc: read(88, { pool, flags: uint }, { xml: name }),
  storagePoolGetAutostart: read(89, { pool }, { autostart: int }),
  storagePoolIsActive: read(154, { pool }, { active: int }),
  storagePoolIsPersistent: read(155, { pool }, { persistent: int }),
  storagePoolListAllVolumes: read(
    282,
    { pool, needResults: int, flags: uint },
    { volumes: array(volume, Limit.listItems), count: uint },
  ),
  storagePoolCreateXml: job(76, { xml: name, flags: uint }, { pool }),
  storagePoolDefineXml: job(77, { xml: name, flags: uint }, { pool }),
  storagePoolCreate: job(78, { pool, flags: uint }, {}),
  storagePoolBuild: job(79, { pool, flags: uint }, {}),
  storagePoolDestroy: job(80, { pool }, {}),
  storagePoolDelete: job(81, { pool, flags: uint }, {}),
  storagePoolUndefine: job(82, { pool }, {}),
  storagePoolRefresh: job(83, { pool, flags: uint }, {}),
  storagePoolSetAutostart: job(90, { pool, autostart: int }, {}),
});

/** Storage volumes. */
export const volumeProcedures = procedures(Program.remote, {
  storageVolLookupByName: read(95, { pool, name }, { volume }),
  storageVolLookupByKey: read(96, { key: name }, { volume }),
  storageVolLookupByPath: read(97, { path: name }, { volume }),
  storageVolGetInfo: read(98, { volume }, { type: int, capacityBytes: uhyper, allocationBytes: uhyper }),
  storageVolGetInfoFlags: read(
    378,
    { volume, flags: uint },
    { type: int, capacityBytes: uhyper, allocationBytes: uhyper },
  ),
  storageVolGetXmlDesc: read(99, { volume, flags: uint }, { xml: name }),
  storageVolGetPath: read(100, { volume }, { path: name }),
  storageVolCreateXml: job(93, { pool, xml: name, flags: uint }, { volume }),
  storageVolCreateXmlFrom: job(125, { pool, xml: name, source: volume, flags: uint }, { volume }),
  storageVolDelete: job(94, { volume, flags: uint }, {}),
  storageVolResize: job(260, { volume, capacityBytes: uhyper, flags: uint }, {}),
  storageVolWipe: job(165, { volume, flags: uint }, {}),
  storageVolWipePattern: job(259, { volume, algorithm: uint, flags: uint }, {}),
});
