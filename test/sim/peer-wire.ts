/**
 * What passes between two sites, as the doors of the XMPP face take it: by whom it is signed and whether that key is pinned,
 * and not a word to or from a site without a peering.
 */
import type { BurstOutcome, PeeringOutcome, PinnedPeer } from "@muster/broker";
import type { CoreEffect } from "@muster/cluster-manager";
import { refusal } from "@muster/protocol";
import type { Answer } from "./core-words.ts";
import type { Lead } from "./lead.ts";

const BAD_SIGNATURE: Answer = {
  kind: "refused",
  refusal: refusal("not-authorized", "bad-signature", "the signature is not by the pinned key"),
};
const NO_PEERING: Answer = {
  kind: "refused",
  refusal: refusal("forbidden", "no-peering", "this site has no peering with yours"),
};

/** The key by which the site signs for this peer: the one that the peer knows, else the first of its file. */
function keyFor({ site }: Lead, { signWith }: Pick<PinnedPeer, "signWith">): string | undefined {
  const found = site.keys.find(({ publicKey }) => publicKey === signWith) ?? site.keys[0];
  return found?.publicKey;
}

/** Whether what this key signed is taken there, as things stand. Sites without keys of their own trust the name alone. */
function opens(lead: Lead, pinned: PinnedPeer, key: string | undefined): boolean {
  if (!isPinned(lead, pinned, key)) return false;
  if (key !== undefined) lead.world.tell((checker) => checker.onOpened?.(lead, pinned.domain, key));
  return true;
}

/** An answer counts by the keys of the moment of its question. */
function isPinned({ world, site }: Lead, pinned: PinnedPeer, key: string | undefined): boolean {
  const { publicKey, earlierKey } = world.ports.pinned?.(pinned, site.domain) ?? pinned;
  return key === undefined || key === publicKey || key === earlierKey;
}

/** Whoever accepts an invitation brings its key along: what counts there is the proof. */
function opensAbout(lead: Lead, speaker: PinnedPeer, key: string | undefined, kind: string): boolean {
  return kind === "accept" ? speaker.publicKey === key : opens(lead, speaker, key);
}

/** A question of burst, or receipts. */
export function askPeer(lead: Lead, effect: Extract<CoreEffect, { kind: "peer-send" }>): void {
  const { peer, call, request, timeoutMs } = effect;
  const { site } = lead;
  const end = once((outcome: BurstOutcome) => lead.post({ kind: "peer-answer", peer, call, outcome }));
  const peering = lead.core.views.peering(peer, lead.nowMs());
  if (peering === undefined) {
    lead.world.timeline.after(1, () => end({ kind: "unknown" }));
    return;
  }
  const key = keyFor(lead, peering);
  site.toPeer(peer, (other) =>
    hear(other, site.domain, key, (ticket) => ({ kind: "peer-request", ticket, peer: site.domain, request }), back),
  );
  lead.world.timeline.after(timeoutMs, () => end({ kind: "unknown" }));

  function back(other: Lead, answer: Answer): void {
    const signed = keyFor(other, other.core.views.peering(site.domain, other.nowMs()) ?? {});
    other.site.toPeer(site.domain, (bound) => {
      if (bound !== lead) return;
      if (answer.kind === "refused") end({ kind: "refused", refusal: answer.refusal });
      else if (answer.kind === "burst" && isPinned(lead, peering as PinnedPeer, signed))
        end({ kind: "answered", answer: answer.answer });
      else end({ kind: "unknown" });
    });
  }
}

/** Told without being asked. */
export function notifyPeer(lead: Lead, { peer, states }: Extract<CoreEffect, { kind: "peer-notify" }>): void {
  const from = lead.site.domain;
  const peering = lead.core.views.peering(peer, lead.nowMs());
  if (peering === undefined) return;
  const key = keyFor(lead, peering);
  lead.site.toPeer(peer, (other) =>
    other.manager.enter(() => {
      const here = other.core.views.peering(from, other.nowMs());
      if (here !== undefined && opens(other, here, key))
        other.post({ kind: "peer-notice", peer: from, notice: { states } });
    }),
  );
}

/** A question about the peering itself. */
export function askAboutPeering(lead: Lead, effect: Extract<CoreEffect, { kind: "peering-send" }>): void {
  const { peer, call, request, signWith, timeoutMs } = effect;
  const { site } = lead;
  const end = once((outcome: PeeringOutcome) => lead.post({ kind: "peering-answer", peer, call, outcome }));
  const pinned = lead.core.views.pinnedPeer(peer, lead.nowMs());
  if (pinned === undefined) {
    lead.world.timeline.after(1, () => end({ kind: "unknown", why: "the peering is gone" }));
    return;
  }
  const key = keyFor(lead, { signWith });
  site.toPeer(peer, (other) =>
    other.manager.enter(() => {
      const speaker = speakerAt(other, site.domain, request);
      if (speaker === undefined) back(other, NO_PEERING);
      else if (!opensAbout(other, speaker, key, request.kind)) back(other, BAD_SIGNATURE);
      else
        other.ask(
          (ticket) => ({ kind: "peering-request", ticket, peer: site.domain, request }),
          (answer) => back(other, answer),
        );
    }),
  );
  lead.world.timeline.after(timeoutMs, () => end({ kind: "unknown", why: "it does not answer" }));

  function back(other: Lead, answer: Answer): void {
    const signed = keyFor(other, other.core.views.pinnedPeer(site.domain, other.nowMs()) ?? {});
    other.site.toPeer(site.domain, (bound) => {
      if (bound !== lead) return;
      if (answer.kind === "refused") end({ kind: "refused", refusal: answer.refusal });
      else if (answer.kind === "peering" && isPinned(lead, pinned as PinnedPeer, signed))
        end({ kind: "answered", answer: answer.answer });
      else end({ kind: "unknown", why: "its answer is not signed by its key" });
    });
  }
}

/** By which keys the sender may speak: for the acceptance of an invitation its own. */
function speakerAt(
  other: Lead,
  domain: string,
  request: Extract<CoreEffect, { kind: "peering-send" }>["request"],
): PinnedPeer | undefined {
  const { views } = other.core;
  if (request.kind !== "accept") return views.pinnedPeer(domain, other.nowMs());
  const { invitation, key } = request.body;
  return views.hasInvited(domain, invitation) ? { domain, publicKey: key } : undefined;
}

/** A signed question at the door of the other site. */
export function hear(
  other: Lead,
  from: string,
  key: string | undefined,
  event: Parameters<Lead["ask"]>[0],
  back: (other: Lead, answer: Answer) => void,
): void {
  other.manager.enter(() => {
    const peering = other.core.views.peering(from, other.nowMs());
    if (peering === undefined) back(other, NO_PEERING);
    else if (!opens(other, peering, key)) back(other, BAD_SIGNATURE);
    else other.ask(event, (answer) => back(other, answer));
  });
}

function once<Said>(say: (what: Said) => void): (what: Said) => void {
  let said = false;
  return (what) => {
    if (said) return;
    said = true;
    say(what);
  };
}
