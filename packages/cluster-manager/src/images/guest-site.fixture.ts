/** What the tests of images and networks share: a site that has both, and a look at what hosts are told. */
import {
  type Guest,
  type ImageAddInput,
  imageAddSchema,
  type NetworkCreateInput,
  networkCreateSchema,
} from "@muster/protocol";
import type { Answer } from "../core/effect.ts";
import type { Actor } from "../core/event.ts";
import { ADMIN, type ScriptedSite } from "../core/scripted-site.fixture.ts";
import type { ImageChange } from "./image-event.ts";

export const digestNumber = (digit: string): string => `sha256:${digit.repeat(64)}`;

export function addImage(site: ScriptedSite, input: ImageAddInput, actor: Actor = ADMIN): Answer | undefined {
  return site.ask({ kind: "image-add", actor, add: imageAddSchema.parse(input) });
}

/** The image with its content, as if the shell had taken it in. */
export function giveImage(site: ScriptedSite, input: ImageAddInput, virtualMiB = 3_072): void {
  addImage(site, input);
  const content = { kind: "present", bytes: 1_000, virtualMiB } as const;
  site.ask({ kind: "image-content", digest: input.digest, content });
}

export function changeImage(site: ScriptedSite, image: string, change: ImageChange, actor: Actor = ADMIN) {
  return site.ask({ kind: "image-change", actor, image, change });
}

export function makeNetwork(site: ScriptedSite, input: Partial<NetworkCreateInput>, actor: Actor = ADMIN) {
  const create = networkCreateSchema.parse({ name: "front", attachment: "vxlan", ...input });
  return site.ask({ kind: "network-create", actor, create });
}

/** What the last start of the VM told its host of the guest. */
export function guestTold(site: ScriptedSite, vm: string): Guest | undefined {
  for (const effect of site.effects.toReversed())
    if (effect.kind === "command" && effect.command.vm === vm && effect.command.action === "start")
      return effect.command.subject?.guest;
  return undefined;
}
