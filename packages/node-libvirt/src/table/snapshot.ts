import { array, int, uint } from "../xdr/schema.ts";
import { domain, Limit, name, snapshot } from "./fields.ts";
import { job, Program, procedures, read } from "./procedure.ts";

const snapshots = array(snapshot, Limit.listItems);

/** Snapshots of a domain. */
export const snapshotProcedures = procedures(Program.remote, {
  domainListAllSnapshots: read(274, { domain, needResults: int, flags: uint }, { snapshots, count: int }),
  domainSnapshotListAllChildren: read(275, { snapshot, needResults: int, flags: uint }, { snapshots, count: int }),
  domainSnapshotLookupByName: read(189, { domain, name, flags: uint }, { snapshot }),
  domainHasCurrentSnapshot: read(190, { domain, flags: uint }, { result: int }),
  domainSnapshotCurrent: read(191, { domain, flags: uint }, { snapshot }),
  domainSnapshotIsCurrent: read(271, { snapshot, flags: uint }, { current: int }),
  domainSnapshotHasMetadata: read(272, { snapshot, flags: uint }, { metadata: int }),
  domainSnapshotGetParent: read(244, { snapshot, flags: uint }, { snapshot }),
  domainSnapshotGetXmlDesc: read(186, { snapshot, flags: uint }, { xml: name }),
  domainSnapshotCreateXml: job(185, { domain, xml: name, flags: uint }, { snapshot }),
  domainRevertToSnapshot: job(192, { snapshot, flags: uint }, {}),
  domainSnapshotDelete: job(193, { snapshot, flags: uint }, {}),
});
