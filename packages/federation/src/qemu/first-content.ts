import { openAsBlob } from "node:fs";
import { err, ok, type Result } from "@muster/base";
import type { SiteClient } from "@muster/client";
import type { NetworkCreateInput } from "@muster/protocol";
import { GUEST_MEMORY_MIB, type GuestImageFile } from "../guest-image/index.ts";
import { LAN, type SiteMachinePlan } from "./machine-plan.ts";

/** Tag of the small guest image at every site. */
export const SMALL_IMAGE = "small";

/**
 * Gives a site what its first guests need, as its admin would: the network `lan` and the small image. What is there from an
 * earlier run stays. `site` absent: hosts without network rights, whose guests have QEMU's user networking.
 */
export async function registerFirstContent(
  client: SiteClient,
  site: SiteMachinePlan | undefined,
  image: GuestImageFile,
): Promise<Result<void, string>> {
  const known = await client.network(LAN);
  const network = known.ok ? known : await client.createNetwork(lanOf(site));
  if (!network.ok) return err(`the network ${LAN} cannot be made: ${network.error.message}`);
  const sent = await sendImage(client, image);
  return sent.ok ? ok(undefined) : err(`the image ${SMALL_IMAGE} cannot be added: ${sent.error}`);
}

async function sendImage(client: SiteClient, image: GuestImageFile): Promise<Result<void, string>> {
  const { digest, format, path } = image;
  const known = await client.image(digest);
  if (known.ok && known.value.state === "available") return ok(undefined);
  // After an earlier kernel's image, the tag stands for that one: it moves on to this.
  const added = await client.addImage({ digest, format, minMemoryMiB: GUEST_MEMORY_MIB });
  if (!added.ok) return err(added.error.message);
  const sent = added.value.bytes === undefined ? await client.sendImage(digest, await openAsBlob(path)) : added;
  if (!sent.ok) return err(sent.error.message);
  const tagged = await client.tagImage(digest, SMALL_IMAGE);
  return tagged.ok ? ok(undefined) : err(tagged.error.message);
}

function lanOf(site: SiteMachinePlan | undefined): NetworkCreateInput {
  if (site === undefined) return { name: LAN, attachment: "user", default: true };
  const { lanSubnet, lanAddress, lanPool } = site;
  return { name: LAN, attachment: "bridge", cidr: lanSubnet, gateway: lanAddress, pool: lanPool, default: true };
}
