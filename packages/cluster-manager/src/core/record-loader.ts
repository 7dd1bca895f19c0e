import { assertNever } from "@muster/base";
import type {
  BookRecord,
  Borrower,
  BorrowRecord,
  Ledger,
  LedgerRecord,
  Lender,
  LendRecord,
  MeterRecord,
  SpentRecord,
} from "@muster/broker";
import { bookRecordIn } from "../ledger/settled-receipts.ts";
import { takeUpMove } from "../move/take-up.ts";
import { keepRoom } from "../operations/operation-verbs.ts";
import { takeUpTunnels } from "../tunnels/take-up.ts";
import { decodeRecord, type StoredRecord } from "./record-schema.ts";
import type { VmRecord } from "./records.ts";
import { RESTORE_KEY, readRestoreRecord } from "./restore-record.ts";
import type { WorkingSet } from "./working-set.ts";

/** Those that keep records of their own. */
type Brokers = { readonly lender: Lender; readonly borrower: Borrower; readonly ledger: Ledger | undefined };

/** Fills a working set from stored records, one by one, so that whoever has many can do other things in between. */
export class RecordLoader {
  readonly #set: WorkingSet;
  readonly #brokers: Brokers;
  readonly #vms: VmRecord[] = [];
  readonly #lent: LendRecord[] = [];
  readonly #borrowed: BorrowRecord[] = [];
  readonly #spent: SpentRecord[] = [];
  readonly #receipts: LedgerRecord[] = [];
  readonly #meters: MeterRecord[] = [];
  readonly #books: BookRecord[] = [];

  constructor(set: WorkingSet, brokers: Brokers) {
    this.#set = set;
    this.#brokers = brokers;
  }

  /** In any order. Throws `CorruptRecordError` naming the key where the record is damaged. */
  take(key: string, value: unknown): void {
    if (key === RESTORE_KEY) this.#set.restore = readRestoreRecord(value);
    const book = bookRecordIn(key, value);
    if (book !== undefined) this.#books.push(book);
    const stored = decodeRecord(key, value);
    if (stored !== undefined) this.#file(stored);
  }

  /** All are there: what follows from them. */
  end(): WorkingSet {
    const set = this.#set;
    const { lender, borrower, ledger } = this.#brokers;
    // Hosts first, so that their VMs count there; ended ones oldest first, as they are to be pruned.
    this.#vms.sort((left, right) => left.changedAtMs - right.changedAtMs || (left.id < right.id ? -1 : 1));
    for (const vm of this.#vms) set.putVm(vm);
    for (const vm of this.#vms) {
      takeUpMove(set, vm);
      keepRoom(set, vm);
    }
    lender.load(this.#lent);
    borrower.load(this.#borrowed, this.#spent);
    takeUpTunnels(set, this.#borrowed, this.#lent);
    ledger?.load(this.#receipts, this.#meters, this.#books);
    return set;
  }

  #file(stored: StoredRecord): void {
    const set = this.#set;
    switch (stored.kind) {
      case "request":
        set.requests.set(stored.record.id, stored.record);
        break;
      case "vm":
        this.#vms.push(stored.record);
        break;
      case "host":
        set.putHost(stored.record);
        break;
      case "removed":
        set.removed.add(stored.record.name);
        break;
      case "image":
        set.images.put(stored.record);
        break;
      case "network":
        set.networks.records.set(stored.record.name, stored.record);
        break;
      case "peer":
      case "conduct":
      case "site-key":
      case "maintenance":
        filePeering(set, stored);
        break;
      case "lend":
        this.#lent.push(stored.record);
        break;
      case "borrow":
        this.#borrowed.push(stored.record);
        break;
      case "tunnel":
        set.tunnels.records.set(stored.record.id, stored.record);
        break;
      case "spent":
        this.#spent.push(stored.record);
        break;
      case "receipt":
        this.#receipts.push(stored.record);
        break;
      case "meter":
        this.#meters.push(stored.record);
        break;
      default:
        assertNever(stored);
    }
  }
}

type PeeringStored = Extract<StoredRecord, { kind: "peer" | "conduct" | "site-key" | "maintenance" }>;

/** What concerns our dealings with peers. */
function filePeering(set: WorkingSet, { kind, record }: PeeringStored): void {
  if (kind === "peer") set.peers.records.set(record.domain, record);
  else if (kind === "conduct") set.peers.conducts.set(record.domain, record);
  else if (kind === "site-key") set.peers.siteKey = record;
  else set.maintenance = record;
}
