/**
 * B1-B6, P1: the way between two sites is cut at every message of an exchange in turn: before its sender's server has it, and
 * when its receiver has it and has not answered. At the second moment the receiver's leader dies as well.
 */
import type { LeaseView, LedgerEntryView, VmView } from "@muster/protocol";
import { afterAll, beforeAll, expect, it } from "vitest";
import { until } from "../system/until.ts";
import { CutBed } from "./cut-bed.ts";
import type { Passing } from "./message-tap.ts";

const [BORROWER, LENDER] = ["alpha", "beta"] as const;
/** Renewed at its half, and long enough for a renewal whose every message is cut off once. */
const LEASE_MS = 24_000;
const CUT_MS = 200;
/** Enough for every message to be said as often as it is to be cut, and how long the next one waits for that. */
const VMS_MAX = 8;
const NEXT_WITHIN_MS = 1_500;
/** On a machine that others keep busy; at rest it takes a part of it. */
const UNDER_LOAD_MS = 150_000;

/** All that is said while a VM comes to run and goes on there, and by whom. */
const COMING = [
  ["hold", BORROWER],
  ["held", LENDER],
  ["lease", BORROWER],
  ["leased", LENDER],
  ["states", LENDER],
  ["renew", BORROWER],
  ["renewed", LENDER],
] as const;
/** And while it goes, up to the last receipt. */
const GOING = [
  ["release", BORROWER],
  ["released", LENDER],
  ["receipts", LENDER],
  ["verdicts", BORROWER],
] as const;

type Messages = typeof COMING | typeof GOING;

let bed: CutBed;
const stopped = new AbortController();

beforeAll(async () => {
  bed = await CutBed.start(21, stopped.signal);
  await bed.untilLed();
}, 90_000);

afterAll(async () => {
  stopped.abort();
  await bed?.stop();
}, 60_000);

/** Strikes at each of these messages, at both moments, one strike after the other. */
class Strikes {
  readonly #open: Set<string>;
  readonly #by: ReadonlyMap<string, string>;
  #busy: Promise<void> | undefined;

  constructor(messages: Messages) {
    this.#by = new Map<string, string>(messages);
    this.#open = new Set(messages.flatMap(([name]) => [`${name} sent`, `${name} delivered`]));
    bed.onMessage = (message) => this.#take(message);
  }

  get left(): readonly string[] {
    return [...this.#open];
  }

  /** Nothing is cut off, and both sites are led. */
  async over(): Promise<void> {
    bed.onMessage = undefined;
    await this.#busy;
  }

  #take({ name, site, moment }: Passing): void {
    const own = this.#by.get(name);
    const there = moment === "sent" ? own === site : own !== undefined && own !== site;
    if (!there || this.#busy !== undefined || !this.#open.delete(`${name} ${moment}`)) return;
    bed.cut();
    if (moment === "delivered") bed.killLeader(site);
    this.#busy = this.#mend(moment === "delivered").finally(() => {
      this.#busy = undefined;
    });
  }

  async #mend(killed: boolean): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, CUT_MS));
    bed.heal();
    if (killed) await bed.untilLed();
  }
}

async function value<Value>(asked: Promise<{ ok: true; value: Value } | { ok: false; error: { message: string } }>) {
  const answer = await asked;
  if (!answer.ok) throw new Error(answer.error.message);
  return answer.value;
}

const vmsAt = (site: string): Promise<VmView[]> => value(bed.client(site).vms());
const bookAt = (site: string, side: string): Promise<LedgerEntryView[]> => value(bed.client(site).ledger({ side }));
const openAt = async (site: string): Promise<LeaseView[]> =>
  (await value(bed.client(site).leases())).filter(({ stage }) => stage === "leased" || stage === "held");

async function burst(name: string): Promise<void> {
  const spec = { image: "debian-12", vcpus: 1, memoryMiB: 256, diskGiB: 1 };
  await value(bed.client(BORROWER).createVms({ name, spec, burst: "only", leaseMs: LEASE_MS }, `request-${name}`));
}

async function untilAll(phase: VmView["phase"]): Promise<void> {
  let others: string[] = [];
  await until(
    () => `all VMs are ${phase}, not ${others.join()}`,
    async () => {
      const rest = (await vmsAt(BORROWER)).filter((vm) => vm.phase !== phase);
      others = rest.map(({ name, phase: is, reason }) => `${name} ${is} ${reason ?? ""}`);
      return rest.length === 0;
    },
    UNDER_LOAD_MS,
  );
}

/** Does the next thing whenever no strike is due for a while, until there are no more strikes or things to do. */
async function whileStriking(strikes: Strikes, next: () => Promise<boolean>): Promise<void> {
  let left = strikes.left.length;
  while (left > 0 && (await next())) {
    const before = left;
    await until("the next strike", () => strikes.left.length < before, NEXT_WITHIN_MS).catch(() => undefined);
    left = strikes.left.length;
  }
}

const lines = (book: readonly LedgerEntryView[]) =>
  book.map(({ receipt, digest, state, verdict }) => ({ receipt, digest, state, verdict }));

it("comes to one VM each, then to none, and to equal books", { timeout: 4 * UNDER_LOAD_MS, retry: 0 }, async () => {
  const coming = new Strikes(COMING);
  let made = 0;
  await whileStriking(coming, async () => {
    await burst(`vm-${++made}`);
    return made < VMS_MAX;
  });
  await until(
    () => `cut at all messages, not at ${coming.left.join(", ")}`,
    () => coming.left.length === 0,
    UNDER_LOAD_MS,
  );
  await coming.over();

  // B4, B7: each VM runs once, by one lease, which both sites have.
  await untilAll("running");
  const lent = await vmsAt(LENDER);
  expect(lent.map(({ id, phase }) => [id, phase]).sort()).toEqual(
    (await vmsAt(BORROWER)).map(({ id, phase }) => [id, phase]).sort(),
  );
  expect(lent.every(({ attempt }) => attempt === 1)).toBe(true);
  const ids = async (site: string) => (await openAt(site)).map(({ id, vm }) => [id, vm]).sort();
  await until("both have the same leases", async () => {
    const [here, there] = [await ids(BORROWER), await ids(LENDER)];
    return here.length === made && JSON.stringify(here) === JSON.stringify(there);
  });

  const going = new Strikes(GOING);
  const running = await vmsAt(BORROWER);
  const remove = async (): Promise<boolean> => {
    const vm = running.pop();
    if (vm !== undefined) await value(bed.client(BORROWER).deleteVm(vm.id));
    return running.length > 0;
  };
  await whileStriking(going, remove);
  while (running.length > 0) await remove();
  await untilAll("deleted");
  await until(
    () => `cut at all messages, not at ${going.left.join(", ")}, and every receipt is settled`,
    async () => {
      const book = await bookAt(LENDER, "lent");
      return going.left.length === 0 && book.length >= made && book.every(({ state }) => state !== "open");
    },
    UNDER_LOAD_MS,
  );
  await going.over();

  // B6: what was used was counted once, and both say so. Nothing is left, also not on the host.
  const [book, twin] = [await bookAt(LENDER, "lent"), await bookAt(BORROWER, "borrowed")];
  expect(lines(twin)).toEqual(lines(book));
  expect(
    book
      .filter(({ receipt }) => receipt.final)
      .map(({ receipt }) => receipt.vm)
      .sort(),
  ).toEqual(lent.map(({ id }) => id).sort());
  expect(book.map(({ state }) => state)).toEqual(book.map(() => "agreed"));
  for (const site of [BORROWER, LENDER]) {
    expect(await openAt(site)).toEqual([]);
    expect((await value(bed.client(site).verifyLedger())).findings).toEqual([]);
  }
  expect(new Set((await vmsAt(LENDER)).map(({ phase }) => phase))).toEqual(new Set(["deleted"]));
  await until("its host has nothing", async () =>
    (await value(bed.client(LENDER).hosts())).every(({ vms, foreignVms }) => vms === 0 && foreignVms === 0),
  );
});
