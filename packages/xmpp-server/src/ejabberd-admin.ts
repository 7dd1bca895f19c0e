import { request } from "node:http";
import { err, ok, type Result } from "@muster/base";
import type { Account } from "./account-commands.ts";
import { errorCode, type ServerFault } from "./server-fault.ts";

const ANSWER_BYTES_MAX = 64 * 1024;
const ANSWER_TIMEOUT_MS = 5_000;

/** What a command answered: the HTTP status, and its body as far as it is JSON. */
type Answer = { readonly status: number; readonly body: unknown };

/**
 * Gives one command (those of ejabberdctl) to a running ejabberd through `mod_http_api` on its unix socket. Nothing shows
 * on a command line, and no second Erlang has to start: 1 to 5 ms, where ejabberdctl takes a second and a shared cookie.
 */
async function command(
  socketPath: string,
  name: string,
  parameters: Readonly<Record<string, string>>,
): Promise<Result<Answer, ServerFault>> {
  return await new Promise((resolve) => {
    const fail = (reason: string): void => resolve(err({ kind: "admin-failed", reason: `${name}: ${reason}` }));
    const asked = request(
      {
        socketPath,
        path: `/api/${name}`,
        method: "POST",
        headers: { "content-type": "application/json", host: "localhost" },
        timeout: ANSWER_TIMEOUT_MS,
      },
      (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk: string) => {
          text += chunk;
          if (text.length > ANSWER_BYTES_MAX) response.destroy(new Error("the answer is too long"));
        });
        response.on("error", (error) => fail(error.message));
        response.on("end", () => resolve(ok({ status: response.statusCode ?? 0, body: readJson(text) })));
      },
    );
    asked.on("timeout", () => asked.destroy(new Error(`no answer in ${ANSWER_TIMEOUT_MS} ms`)));
    asked.on("error", (error) => {
      if (["ENOENT", "ECONNREFUSED"].includes(errorCode(error) ?? "")) resolve(err({ kind: "not-running" }));
      else fail(error.message);
    });
    asked.end(JSON.stringify(parameters));
  });
}

/** Whether the server answers and has brought up all its hosts. */
export async function ejabberdAnswers(socketPath: string): Promise<boolean> {
  const answer = await command(socketPath, "status", {});
  return answer.ok && answer.value.status === 200;
}

/** Where commands are given, and whose accounts are meant. */
export type EjabberdHost = { readonly adminSocket: string; readonly domain: string };

/** Makes an account, or gives an existing one this password; one that has it already is not disturbed. */
export async function ensureEjabberdAccount(
  { adminSocket, domain: host }: EjabberdHost,
  { name: user, password }: Account,
): Promise<Result<void, ServerFault>> {
  if (!ACCOUNT.test(user)) return failed(user, "not a valid account name");
  const made = await command(adminSocket, "register", { user, host, password });
  if (!made.ok) return made;
  if (made.value.status === 200) return ok(undefined);
  if (made.value.status !== HTTP_CONFLICT) return failed(user, made.value.body);
  const known = await command(adminSocket, "check_password", { user, host, password });
  if (!known.ok) return known;
  if (known.value.body === DONE) return ok(undefined);
  const changed = await command(adminSocket, "change_password", { user, host, newpass: password });
  if (!changed.ok) return changed;
  return changed.value.body === DONE ? ok(undefined) : failed(user, changed.value.body);
}

/** Deletes an account and its sessions; tells whether there was one. */
export async function removeEjabberdAccount(
  { adminSocket, domain: host }: EjabberdHost,
  user: string,
): Promise<Result<boolean, ServerFault>> {
  const known = await command(adminSocket, "check_account", { user, host });
  if (!known.ok) return known;
  if (known.value.body !== DONE) return ok(false);
  const removed = await command(adminSocket, "unregister", { user, host });
  if (!removed.ok) return removed;
  return removed.value.status === 200 ? ok(true) : failed(user, removed.value.body);
}

/** Makes the server read its configuration again. */
export async function reloadEjabberd(adminSocket: string): Promise<Result<void, ServerFault>> {
  const done = await command(adminSocket, "reload_config", {});
  if (!done.ok) return done;
  if (done.value.status === 200 && done.value.body === DONE) return ok(undefined);
  return err({ kind: "admin-failed", reason: `reload_config: ${text(done.value.body)}` });
}

/** As ejabberd's commands say it. */
const DONE = 0;
const HTTP_CONFLICT = 409;
/** The local part as hosts and people have it here: prepared, so that both servers take the same names. */
const ACCOUNT = /^[a-z0-9][a-z0-9._-]{0,63}$/;

function failed(user: string, body: unknown): Result<never, ServerFault> {
  return err({ kind: "admin-failed", reason: `account ${user.slice(0, 64)}: ${text(body)}` });
}

function text(body: unknown): string {
  return (typeof body === "string" ? body : JSON.stringify(body)).slice(0, 300);
}

function readJson(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return body;
  }
}
