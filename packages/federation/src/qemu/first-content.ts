import { createReadStream, readFileSync } from "node:fs";
import { Readable } from "node:stream";
import { type Clock, err, ok, type Result } from "@muster/base";
import type { ImageAddInput, NetworkCreateInput } from "@muster/protocol";
import type { GuestImageFile } from "../guest-image/index.ts";
import { GUEST_MEMORY_MIB } from "../guest-image/index.ts";
import { LAN, type SiteMachinePlan } from "./machine-plan.ts";

/** Tag of the small guest image at every site. */
export const SMALL_IMAGE = "small";

export type SiteAccess = { readonly url: string; readonly tokenFile: string };

const CALL_MS = 60_000;
const UPLOAD_WITHIN_MS = 60_000;

/**
 * Gives a site what its first guests need, as its admin would: the network `lan` and the small image. What is there from an
 * earlier run stays. `site` absent: hosts without network rights, whose guests have QEMU's user networking.
 */
export async function registerFirstContent(
  access: SiteAccess,
  site: SiteMachinePlan | undefined,
  image: GuestImageFile,
  clock: Clock,
): Promise<Result<void, string>> {
  const api = new Api(access);
  const network = await api.unlessThere(`/v1/networks/${LAN}`, "/v1/networks", lanOf(site));
  if (!network.ok) return err(`the network ${LAN} cannot be made: ${network.error}`);
  const add: ImageAddInput = {
    digest: image.digest,
    tags: [SMALL_IMAGE],
    format: image.format,
    minMemoryMiB: GUEST_MEMORY_MIB,
  };
  const known = await api.unlessThere(`/v1/images/${image.digest}`, "/v1/images", add);
  if (!known.ok) return err(`the image ${SMALL_IMAGE} cannot be added: ${known.error}`);
  return upload(api, image, clock);
}

function lanOf(site: SiteMachinePlan | undefined): NetworkCreateInput {
  if (site === undefined) return { name: LAN, attachment: "user", default: true };
  const { lanSubnet, lanAddress } = site;
  return { name: LAN, attachment: "bridge", cidr: lanSubnet, gateway: lanAddress, default: true };
}

/** Sends the content, unless the site has it; a site that is not ready to take it yet is asked again. */
async function upload(api: Api, image: GuestImageFile, clock: Clock): Promise<Result<void, string>> {
  const path = `/v1/images/${image.digest}`;
  const deadlineMs = clock.nowMs() + UPLOAD_WITHIN_MS;
  let last = "it did not say why";
  while (clock.nowMs() < deadlineMs) {
    const shown = await api.get(path);
    if (shown.ok && isAvailable(shown.value)) return ok(undefined);
    const sent = await api.put(`${path}/content`, image.path, image.bytes);
    if (!sent.ok) last = sent.error;
    await new Promise<void>((resolve) => clock.setTimer(200, resolve));
  }
  return err(`the site does not take the content of image ${SMALL_IMAGE}: ${last}`);
}

function isAvailable(image: unknown): boolean {
  return typeof image === "object" && image !== null && "state" in image && image.state === "available";
}

/** A site's API with its admin token; errors are one sentence. */
class Api {
  readonly #url: string;
  readonly #headers: Readonly<Record<string, string>>;

  constructor({ url, tokenFile }: SiteAccess) {
    this.#url = url;
    this.#headers = { authorization: `Bearer ${readFileSync(tokenFile, "utf8").trim()}` };
  }

  async unlessThere(path: string, collection: string, body: object): Promise<Result<void, string>> {
    const present = await this.get(path);
    if (present.ok) return ok(undefined);
    const headers = { "content-type": "application/json" };
    const made = await this.#call(collection, { method: "POST", headers, body: JSON.stringify(body) });
    return made.ok ? ok(undefined) : made;
  }

  get(path: string): Promise<Result<unknown, string>> {
    return this.#call(path, { method: "GET" });
  }

  put(path: string, file: string, bytes: number): Promise<Result<unknown, string>> {
    const headers = { "content-type": "application/octet-stream", "content-length": String(bytes) };
    const body = Readable.toWeb(createReadStream(file)) as unknown as ReadableStream;
    return this.#call(path, { method: "PUT", headers, body, duplex: "half" });
  }

  async #call(path: string, init: RequestInit & { readonly duplex?: "half" }): Promise<Result<unknown, string>> {
    try {
      const headers = { ...this.#headers, ...(init.headers as Record<string, string> | undefined) };
      const response = await fetch(`${this.#url}${path}`, { ...init, headers, signal: AbortSignal.timeout(CALL_MS) });
      const text = await response.text();
      if (!response.ok) return err(`${init.method} ${path}: ${response.status} ${text.slice(0, 300)}`);
      return ok(text === "" ? undefined : JSON.parse(text));
    } catch (cause) {
      return err(`${init.method} ${path}: ${cause instanceof Error ? cause.message : String(cause)}`);
    }
  }
}
