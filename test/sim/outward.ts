/** Carries the effects of a leader out to hosts, peers and users, as the XMPP face does. */
import type { CommandEnd, CoreEffect, CoreEvent } from "@muster/cluster-manager";
import type { HostNode } from "./host-node.ts";
import type { Lead } from "./lead.ts";
import { askAboutPeering, askPeer, notifyPeer } from "./peer-wire.ts";
import { POLICY_TIMING } from "./policy.ts";

const LIST_MAX = 1_000;

export function carryOut(lead: Lead, effect: CoreEffect): void {
  switch (effect.kind) {
    case "answer":
      lead.answer(effect.ticket, effect.answer);
      return;
    case "command":
      command(lead, effect);
      return;
    case "move":
      move(lead, effect);
      return;
    case "hello":
      hello(lead, effect.host);
      return;
    case "fetch-inventory":
      fetchInventory(lead, effect.host);
      return;
    case "peer-send":
      askPeer(lead, effect);
      return;
    case "peer-notify":
      notifyPeer(lead, effect);
      return;
    case "peering-send":
      askAboutPeering(lead, effect);
      return;
    case "underlay":
    case "forget-host":
    case "contact-changed":
    case "event":
      return;
  }
}

function command(lead: Lead, { host, command: order }: Extract<CoreEffect, { kind: "command" }>): void {
  let ended = false;
  const end = (how: CommandEnd): void => {
    if (ended) return;
    ended = true;
    lead.post({ kind: "command-ended", host, command: order.id, end: how });
  };
  askHost(lead, host, (node, answered) =>
    node.ask({ kind: "command", command: order }, (answer) => {
      if (answer.kind === "outcome") answered(() => end({ kind: "outcome", outcome: answer.outcome }));
      else if (answer.kind === "refused") answered(() => end({ kind: "refused", refusal: answer.refusal }));
    }),
  );
  lead.world.timeline.after(POLICY_TIMING.commandTimeoutMs, () => end({ kind: "unknown" }));
  const { repeatsStartsAfterMs } = lead.world.ports;
  if (repeatsStartsAfterMs === undefined || order.action !== "start") return;
  const node = lead.site.hosts.get(host);
  lead.world.timeline.after(repeatsStartsAfterMs, () => node?.ask({ kind: "command", command: order }, () => {}));
}

function move(lead: Lead, { host, move: asked, timeoutMs }: Extract<CoreEffect, { kind: "move" }>): void {
  const { vm, id, step } = asked;
  let ended = false;
  const end = (how: Extract<CoreEvent, { kind: "move-answered" }>["end"]): void => {
    if (ended) return;
    ended = true;
    lead.post({ kind: "move-answered", host, vm, id, step, end: how });
  };
  askHost(lead, host, (node, answered) =>
    node.ask({ kind: "move", move: asked }, (answer) => {
      if (answer.kind === "moved") answered(() => end({ kind: "state", state: answer.state }));
      else if (answer.kind === "refused") answered(() => end({ kind: "refused", refusal: answer.refusal }));
    }),
  );
  lead.world.timeline.after(timeoutMs, () => end({ kind: "unknown" }));
  const { repeatsStartsAfterMs } = lead.world.ports;
  if (repeatsStartsAfterMs === undefined || step !== "prepare") return;
  const node = lead.site.hosts.get(host);
  lead.world.timeline.after(repeatsStartsAfterMs, () => node?.ask({ kind: "move", move: asked }, () => {}));
}

function hello(lead: Lead, host: string): void {
  const { term, manager } = lead;
  askHost(lead, host, (node, answered) =>
    node.ask({ kind: "hello", hello: { term, manager: manager.name } }, (answer) => {
      if (answer.kind !== "welcome") return;
      const { welcome } = answer;
      answered(() => {
        lead.post({ kind: "host-welcome", host, welcome });
        if (lead.world.ports.emptyInventory !== true) return;
        lead.post({ kind: "host-inventory", host, bootId: welcome.bootId, digest: "", vms: [] });
      });
    }),
  );
}

function fetchInventory(lead: Lead, host: string): void {
  if (lead.fetching.has(host)) return;
  lead.fetching.add(host);
  lead.world.timeline.after(POLICY_TIMING.commandTimeoutMs, () => lead.fetching.delete(host));
  askHost(lead, host, (node, answered) =>
    node.ask({ kind: "inventory", query: { max: LIST_MAX } }, (answer) => {
      if (answer.kind !== "page") return;
      const { bootId, digest, vms } = answer.page;
      lead.world.lists.add(vms);
      answered(() => {
        if (lead.fetching.delete(host)) lead.post({ kind: "host-inventory", host, bootId, digest, vms });
      });
    }),
  );
}

/** A question to a host; its answer comes back only while the asker still has the site's address. */
function askHost(lead: Lead, name: string, ask: (host: HostNode, answered: (act: () => void) => void) => void): void {
  const { site } = lead;
  const host = site.hosts.get(name);
  if (host === undefined) return;
  site.fromLeader(host.address, () =>
    ask(host, (act) =>
      site.toLeader(host.address, (bound) => {
        if (bound === lead) act();
      }),
    ),
  );
}
