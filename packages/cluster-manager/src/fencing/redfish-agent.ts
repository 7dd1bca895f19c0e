/** Redfish (DSP0266): `ComputerSystem.Reset` with `ForceOff`, then `PowerState` until it says `Off`. TLS and basic authentication. */
import { readFile } from "node:fs/promises";
import { request } from "node:https";
import { z } from "zod";
import { type FenceAgent, type PowerState, untilOff } from "./fence-agent.ts";

export type RedfishAgentOptions = {
  readonly url: string;
  readonly user: string;
  readonly passwordFile: string;
  readonly caFile?: string | undefined;
  readonly pause: (durationMs: number) => Promise<void>;
};

/** Longest answer that is read (S2). */
const BODY_MAX = 1_048_576;
const systemSchema = z.object({ PowerState: z.string() });

export function redfishAgent(options: RedfishAgentOptions): FenceAgent {
  const reset = `${options.url.replace(/\/$/, "")}/Actions/ComputerSystem.Reset`;
  return {
    async powerOff(signal) {
      const off = await ask(options, "POST", reset, { ResetType: "ForceOff" }, signal);
      // Some answer so when it is off already: what counts is what it says of itself.
      const taken = off.kind === "answer" && (off.status < 300 || off.status === 409);
      if (!taken) return { kind: "failed", reason: `it was not switched off: ${reasonOf(off)}` };
      return untilOff(() => powerState(options, signal), options.pause, signal);
    },
  };
}

async function powerState(options: RedfishAgentOptions, signal: AbortSignal): Promise<PowerState> {
  const told = await ask(options, "GET", options.url, undefined, signal);
  if (told.kind !== "answer" || told.status !== 200) return { kind: "unknown", reason: reasonOf(told) };
  const system = systemSchema.safeParse(parsed(told.body));
  if (!system.success) return { kind: "unknown", reason: "its answer has no PowerState" };
  return { kind: system.data.PowerState === "Off" ? "off" : "on" };
}

type Told =
  | { readonly kind: "answer"; readonly status: number; readonly body: string }
  | { readonly kind: "none"; readonly reason: string };

function reasonOf(told: Told): string {
  return told.kind === "none" ? told.reason : `it answered ${told.status}`;
}

async function ask(
  { user, passwordFile, caFile }: RedfishAgentOptions,
  method: "GET" | "POST",
  url: string,
  content: unknown,
  signal: AbortSignal,
): Promise<Told> {
  try {
    const password = (await readFile(passwordFile, "utf8")).trim();
    const ca = caFile === undefined ? undefined : await readFile(caFile, "utf8");
    return await send(url, method, { auth: `${user}:${password}`, ca, signal }, content);
  } catch (cause) {
    return { kind: "none", reason: cause instanceof Error ? cause.message : String(cause) };
  }
}

function send(
  url: string,
  method: string,
  { auth, ca, signal }: { readonly auth: string; readonly ca: string | undefined; readonly signal: AbortSignal },
  content: unknown,
): Promise<Told> {
  return new Promise((settle) => {
    const body = content === undefined ? "" : JSON.stringify(content);
    const headers = { accept: "application/json", "content-type": "application/json", "content-length": body.length };
    const asked = request(url, { method, auth, headers, signal, ...(ca === undefined ? {} : { ca }) }, (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (part: string) => {
        text += part;
        if (text.length > BODY_MAX) asked.destroy(new Error("its answer is too long"));
      });
      answer.on("end", () => settle({ kind: "answer", status: answer.statusCode ?? 0, body: text }));
    });
    asked.on("error", (cause) => settle({ kind: "none", reason: cause.message }));
    asked.end(body);
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
