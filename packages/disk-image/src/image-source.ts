/**
 * Where a disk image is fetched from, by node:http and not by fetch: where a server hangs up while a slow disk holds the body
 * back, fetch of Node 24 ends the whole process with an assertion of its own.
 */
import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { err, ok, type Result } from "@muster/base";
import type { SourceFault } from "./source-fault.ts";
import type { TransferWatch } from "./transfer-watch.ts";

/** As many as an honest server needs. */
export const REDIRECTS_MAX = 5;

export type ImageSource = {
  /** How much comes, where the server tells. */
  readonly totalBytes: number | undefined;
  /** To be read once; it throws where the transfer breaks off, and `fault` tells why. */
  readonly content: AsyncIterable<Uint8Array>;
  readonly fault: () => SourceFault | undefined;
  /** Hangs up, whatever is still to come. */
  readonly close: () => void;
};

/** Asks for the image and follows redirects to the one who has it. No fault holds an address: it may carry a ticket (S3). */
export async function openSource(
  url: string,
  watch: TransferWatch,
  redirectsMax = REDIRECTS_MAX,
): Promise<Result<ImageSource, SourceFault>> {
  const reached = await follow(url, watch, redirectsMax);
  if (!reached.ok) return reached;
  const response = reached.value;
  const length = Number(response.headers["content-length"] ?? Number.NaN);
  let fault: SourceFault | undefined;
  async function* content(): AsyncGenerator<Uint8Array> {
    // Only the source can be silent: while the disk has its time, nobody listens.
    watch.listen();
    try {
      for await (const chunk of response) {
        watch.rest();
        yield chunk;
        watch.listen();
      }
    } catch (cause) {
      fault = watch.fault() ?? { kind: "broke-off", code: codeOf(cause) };
      throw cause;
    } finally {
      watch.rest();
    }
  }
  return ok({
    totalBytes: Number.isSafeInteger(length) ? length : undefined,
    content: content(),
    fault: () => fault,
    close: () => response.destroy(),
  });
}

async function follow(
  start: string,
  watch: TransferWatch,
  redirectsMax: number,
): Promise<Result<IncomingMessage, SourceFault>> {
  let address = URL.parse(start);
  for (let hops = 0; hops <= redirectsMax; hops += 1) {
    if (address === null || !/^https?:$/.test(address.protocol)) return err({ kind: "no-http" });
    const reached = await ask(address, watch);
    if (!reached.ok) return reached;
    const { statusCode: status = 0, headers } = reached.value;
    if (status === 200) return reached;
    reached.value.destroy();
    if (status < 300 || status > 399 || headers.location === undefined) return err({ kind: "status", status });
    address = URL.parse(headers.location, address.href);
  }
  return err({ kind: "redirects", most: redirectsMax });
}

function ask(address: URL, watch: TransferWatch): Promise<Result<IncomingMessage, SourceFault>> {
  const request = address.protocol === "https:" ? httpsRequest : httpRequest;
  // The digest is one of the bytes as they are; and one transfer is all that is wanted of this connection.
  const headers = { accept: "*/*", "accept-encoding": "identity", connection: "close" };
  return new Promise<Result<IncomingMessage, SourceFault>>((resolve) => {
    const fail = (cause: unknown): void => resolve(err(watch.fault() ?? { kind: "unreachable", code: codeOf(cause) }));
    try {
      watch.listen();
      const asked = request(address.href, { headers, signal: watch.signal }, (response) => {
        // What ends it before somebody reads it is met by the one who reads it.
        response.on("error", () => {});
        resolve(ok(response));
      });
      asked.on("error", fail);
      asked.end();
    } catch (cause) {
      fail(cause);
    }
  }).finally(() => watch.rest());
}

/** What went wrong, by its code alone: messages can name addresses. */
function codeOf(cause: unknown): string {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  if (typeof code !== "string") return cause instanceof Error ? cause.name : "unknown reason";
  return code.startsWith("HPE_") ? `what it answers is no HTTP (${code})` : code;
}
