import { decode, describeFaults } from "@muster/base";
import { type Refusal, vmCreateSchema } from "@muster/protocol";
import type { FormField, Word, WordAnswer, WordCall, Words } from "@muster/xmpp";
import { adminRefusal, changeRefusal, findVm, sees } from "../api/permission.ts";
import type { CoreViews } from "../core/core.ts";
import type { Actor, CoreEvent } from "../core/event.ts";
import type { ConfirmCodes } from "./confirm-code.ts";
import { FACE_ANSWER_WITHIN_MS, type FaceContext } from "./face-context.ts";
import type { Watchers } from "./watchers.ts";

export type SiteWordsOptions = {
  readonly context: FaceContext;
  readonly watchers: Watchers;
  readonly codes: ConfirmCodes;
  readonly newId: () => string;
  /** The registry these words go into, for `help`. */
  readonly words: () => Words;
};

/** Rows of a table in an answer; the command line shows the rest. */
const ROWS_MAX = 40;

/** What people can say to the site, as ad-hoc command and in chat: adding a word is adding a row. */
export function siteWords(options: SiteWordsOptions): Word[] {
  return [
    ...readingWords(options),
    ...hostWords(options),
    ...leaseWords(options),
    createWord(options),
    ...endingWords(options),
  ];
}

function readingWords(options: SiteWordsOptions): Word[] {
  const reads = (
    word: string,
    title: string,
    answer: (views: CoreViews, nowMs: number, actor: Actor) => WordAnswer,
  ): Word => ({
    word,
    title,
    fields: [],
    permits: (by) => options.watchers(by) !== undefined,
    answer: ({ by }) =>
      asActor(options, by, (actor) => options.context.loop.read((views, nowMs) => answer(views, nowMs, actor))),
  });
  return [
    {
      ...reads("help", "what you can say", () => done("")),
      answer: ({ by }) => done(helpText(options.words().permitted(by))),
    },
    reads("status", "the site in one line", (views, nowMs) => done(statusText(views, nowMs))),
    reads("hosts", "hosts and what they have free", (views, nowMs) =>
      table(views.hosts(nowMs), ["name", "state", "free vCPU", "VMs", "status"], (host) => [
        host.name,
        host.draining ? `${host.liveness}, draining` : host.liveness,
        String(host.free.vcpus),
        String(host.vms),
        host.statusLine,
      ]),
    ),
    reads("peers", "sites we work with", (views, nowMs) =>
      table(views.peers(nowMs), ["domain", "state", "lent", "borrowed"], (peer) => [
        peer.domain,
        peer.state,
        String(peer.lentLeases),
        String(peer.borrowedLeases),
      ]),
    ),
    reads("queue", "VMs that wait, and why", (views, nowMs, actor) =>
      table(
        views.queue(nowMs).filter(({ project }) => sees(actor, project)),
        ["position", "name", "reason"],
        (entry) => [String(entry.position), entry.name, entry.reason],
      ),
    ),
    reads("vms", "VMs that are not over", (views, _nowMs, actor) =>
      table(
        views.vms().filter((vm) => sees(actor, vm.project) && !OVER.has(vm.phase)),
        ["name", "phase", "where", "id"],
        (vm) => [vm.name, vm.phase, placeText(vm.place), vm.id],
      ),
    ),
    whyWord(options),
  ];
}

function whyWord(options: SiteWordsOptions): Word {
  return {
    word: "why",
    title: "why a VM is where it is, or waits",
    fields: [VM_FIELD],
    permits: (by) => options.watchers(by) !== undefined,
    answer: ({ by, values }) =>
      asActor(options, by, (actor) =>
        options.context.loop.read((views, nowMs) => {
          const vm = findVm(views, actor, values.vm ?? "");
          if ("kind" in vm) return refused(vm);
          const explanation = views.why(vm.id, nowMs);
          if (explanation === undefined) return done(`${vm.name} is ${vm.phase}`);
          const { note, ...rest } = table(explanation.candidates, ["name", "verdict", "reason"], (candidate) => [
            candidate.name,
            candidate.verdict,
            candidate.message,
          ]);
          return {
            ...rest,
            note: explanation.candidates.length === 0 ? explanation.summary : `${explanation.summary} (${note})`,
          };
        }),
      ),
  };
}

function hostWords(options: SiteWordsOptions): Word[] {
  const drains = (word: string, title: string, draining: boolean): Word => ({
    word,
    title,
    fields: [{ name: "host", label: "Host", required: true }],
    permits: (by) => options.watchers(by)?.role === "admin",
    answer: ({ by, values: { host = "" } }) =>
      change(
        options,
        by,
        adminRefusal,
        (ticket, actor) => ({ kind: "host-drain", ticket, actor, host, draining, policy: "migrate" }),
        `${host}: ${word} is stored`,
      ),
  });
  return [
    drains("drain", "empty a host, and place nothing more on it", true),
    drains("undrain", "place on a host again", false),
  ];
}

/** A peer's request above the limit waits for one of these. */
function leaseWords(options: SiteWordsOptions): Word[] {
  const decides = (word: string, title: string, approve: boolean): Word => ({
    word,
    title,
    fields: [
      { name: "lease", label: "Id of the lease", required: true },
      { name: "reason", label: "Reason", required: false },
    ],
    permits: (by) => options.watchers(by)?.role === "admin",
    answer: ({ by, values: { lease = "", reason } }) =>
      change(
        options,
        by,
        adminRefusal,
        (ticket, actor) => ({ kind: "lease-decide", ticket, actor, lease, approve, reason }),
        `${lease} is ${approve ? "approved" : "denied"}`,
      ),
  });
  return [
    decides("approve", "let a peer have what waits for approval", true),
    decides("deny", "refuse a peer what waits for approval", false),
  ];
}

function createWord(options: SiteWordsOptions): Word {
  const field = (name: string, label: string, required = true): FormField => ({ name, label, required });
  return {
    word: "create",
    title: "ask for a VM",
    fields: [
      field("name", "Name"),
      field("image", "Image"),
      field("vcpus", "vCPUs"),
      field("memory", "Memory in MiB"),
      field("disk", "Disk in GiB"),
      field("project", "Project", false),
    ],
    permits: (by) => (options.watchers(by)?.role ?? "viewer") !== "viewer",
    answer: ({ by, values }) => {
      const { name, image, vcpus, memory, disk, project } = values;
      const spec = { image, vcpus: Number(vcpus), memoryMiB: Number(memory), diskGiB: Number(disk) };
      const create = decode(vmCreateSchema, { name, spec, ...(project === undefined ? {} : { project }) });
      if (!create.ok) return { kind: "refused", note: describeFaults(create.error) };
      return change(
        options,
        by,
        (actor) => changeRefusal(actor, create.value.project),
        (ticket, actor) => ({ kind: "request", ticket, actor, requestId: options.newId(), create: create.value }),
        `${create.value.name} is accepted`,
      );
    },
  };
}

function endingWords(options: SiteWordsOptions): Word[] {
  const ends = (
    word: string,
    title: string,
    effect: string,
    event: (ticket: number, actor: Actor, vm: string) => CoreEvent,
  ): Word => ({
    word,
    title,
    fields: [VM_FIELD, { name: "code", label: "Code from the first answer", required: false }],
    permits: (by) => options.watchers(by)?.role === "admin",
    answer: (call) => confirmed(options, call, word, effect, event),
  });
  return [
    ends("stop", "end a VM, keep its disk", "ends the guest of", (ticket, actor, vm) => ({
      kind: "vm-action",
      ticket,
      actor,
      vm,
      action: "stop",
    })),
    ends("delete", "remove a VM and its disk", "removes, with its disk,", (ticket, actor, vm) => ({
      kind: "vm-delete",
      ticket,
      actor,
      vm,
    })),
  ];
}

/** First says what would happen and a code; does it when the code comes back. */
async function confirmed(
  options: SiteWordsOptions,
  { by, values }: WordCall,
  word: string,
  effect: string,
  event: (ticket: number, actor: Actor, vm: string) => CoreEvent,
): Promise<WordAnswer> {
  return asActor(options, by, async (actor) => {
    const vm = await options.context.loop.read((views) => findVm(views, actor, values.vm ?? ""));
    if ("kind" in vm) return refused(vm);
    const act = `${word} ${vm.id}`;
    if (values.code === undefined || !options.codes.confirms(values.code, by, act)) {
      const code = options.codes.codeFor(by, act);
      const wrong = values.code === undefined ? "" : "That code does not fit. ";
      const note = `${wrong}This ${effect} VM ${vm.name} (${vm.phase}, ${placeText(vm.place)}). To do it, say: ${word} ${vm.name} ${code}`;
      return { kind: "refused", note };
    }
    options.context.log.info({ by, word, vm: vm.id }, "a destructive word was confirmed");
    return change(
      options,
      by,
      adminRefusal,
      (ticket) => event(ticket, actor, vm.id),
      `${word} of ${vm.name} is stored`,
    );
  });
}

async function change(
  options: SiteWordsOptions,
  by: string,
  forbids: (actor: Actor) => Refusal | undefined,
  event: (ticket: number, actor: Actor) => CoreEvent,
  note: string,
): Promise<WordAnswer> {
  return asActor(options, by, (actor) => {
    const forbidden = forbids(actor);
    if (forbidden !== undefined) return refused(forbidden);
    return options.context.loop.ask(
      (ticket) => event(ticket, actor),
      FACE_ANSWER_WITHIN_MS,
      (answer) => (answer.kind === "refused" ? refused(answer.refusal) : done(note)),
    );
  });
}

function asActor(
  { watchers }: SiteWordsOptions,
  by: string,
  answer: (actor: Actor) => WordAnswer | Promise<WordAnswer>,
): WordAnswer | Promise<WordAnswer> {
  const actor = watchers(by);
  return actor === undefined ? { kind: "refused", note: "You have no permission here." } : answer(actor);
}

const VM_FIELD: FormField = { name: "vm", label: "VM, by name or id", required: true };
const OVER = new Set(["deleted", "refused", "cancelled", "expired"]);

function statusText(views: CoreViews, nowMs: number): string {
  const site = views.site(nowMs);
  const hosts = Object.entries(site.hosts).map(([liveness, count]) => `${count} ${liveness}`);
  const vms = Object.entries(site.vms).map(([phase, count]) => `${count} ${phase}`);
  const reconciled = site.reconciled ? "" : "; not reconciled yet";
  return (
    `${site.domain}: ${site.free.vcpus} of ${site.total.vcpus - site.reserved.vcpus} vCPU free; ` +
    `hosts: ${hosts.join(", ") || "none"}; VMs: ${vms.join(", ") || "none"}; ${site.queued} queued; ` +
    `led by ${site.leader} in term ${site.term}${reconciled}`
  );
}

function helpText(words: readonly Word[]): string {
  return words
    .map(({ word, fields, title }) => {
      const usage = [word, ...fields.map(({ name, required }) => (required ? `<${name}>` : `[${name}]`))].join(" ");
      return `${usage} – ${title}`;
    })
    .join("\n");
}

function placeText(place: { readonly kind: string; readonly host?: string; readonly peer?: string }): string {
  return place.host ?? place.peer ?? "nowhere yet";
}

function table<Row>(rows: readonly Row[], columns: readonly string[], cells: (row: Row) => string[]): WordAnswer {
  const shown = rows.slice(0, ROWS_MAX).map(cells);
  const more = rows.length - shown.length;
  const note = rows.length === 0 ? "none" : `${rows.length}${more > 0 ? `, ${more} not shown` : ""}`;
  if (rows.length === 0) return done(note);
  return {
    kind: "done",
    note,
    table: { columns: columns.map((label) => ({ name: label.replaceAll(" ", "-"), label })), rows: shown },
  };
}

function done(note: string): WordAnswer {
  return { kind: "done", note };
}

function refused(why: Refusal): WordAnswer {
  return { kind: "refused", note: why.message };
}
