import { err, ok, type Result } from "@muster/base";
import { adminEvaluate } from "./admin-shell.ts";
import { luaString } from "./lua.ts";
import type { ServerFault } from "./server-fault.ts";

/** An ordinary account of the site: for people and tests. Hosts enrol with a token instead. */
export type Account = { readonly name: string; readonly password: string };

/** A single-use token: allows in-band registration (XEP-0445) of exactly one account name. */
export type EnrolmentToken = {
  readonly account: string;
  readonly token: string;
  /** From now on. */
  readonly expiresSeconds: number;
};

/** A running server's admin socket and the domain whose accounts are meant. */
export type AccountHost = { readonly adminSocket: string; readonly domain: string };

/** Makes an account, or gives an existing one this password; one that has it already is not disturbed. */
export async function ensureAccount(host: AccountHost, account: Account): Promise<Result<void, ServerFault>> {
  const parameters = [account.name, account.password, host.domain].map(luaString).join(", ");
  const done = await adminEvaluate(host.adminSocket, `(${ENSURE})(${parameters})`);
  if (!done.ok) return done;
  if (done.value === "done") return ok(undefined);
  return err({ kind: "admin-failed", reason: `account ${account.name.slice(0, 64)}: ${done.value}` });
}

/** Deletes an account, its unused tokens and its sessions; tells whether there was one. */
export async function removeAccount(host: AccountHost, name: string): Promise<Result<boolean, ServerFault>> {
  const removed = await adminEvaluate(host.adminSocket, `${enrolModule(host)}.revoke(${luaString(name)})`);
  return removed.ok ? ok(removed.value === "true") : removed;
}

/** Mints a token for an account that does not exist yet; an earlier unused one of the same account stops working. */
export async function mintToken(
  host: AccountHost,
  account: string,
  ttlSeconds: number,
): Promise<Result<EnrolmentToken, ServerFault>> {
  const parameters = `${luaString(account)}, ${Number.isSafeInteger(ttlSeconds) ? ttlSeconds : -1}`;
  const minted = await adminEvaluate(host.adminSocket, `(${MINT})(${enrolModule(host)}, ${parameters})`);
  if (minted.ok) return ok({ account, token: minted.value, expiresSeconds: ttlSeconds });
  if (minted.error.kind === "admin-failed" && minted.error.reason === "conflict")
    return err({ kind: "account-exists", account });
  return minted;
}

// One line each: the admin shell reads a line as an expression.
const ENSURE = [
  "function(name, password, host)",
  'local users = require "core.usermanager";',
  'local nodeprep = require "util.encodings".stringprep.nodeprep;',
  'if name == "" or nodeprep(name, true) ~= name then return "not a valid account name"; end',
  "local done, why = true;",
  "if not users.user_exists(name, host) then done, why = users.create_user(name, password, host);",
  "elseif not users.test_password(name, host, password) then",
  "done, why = users.set_password(name, password, host); end",
  'return done and "done" or tostring(why); end',
].join(" ");

/** `mint` returns token and lifetime; the shell would take two values for a failure. */
const MINT = [
  "function(enrol, account, ttl_seconds)",
  "local token, detail = enrol.mint(account, ttl_seconds);",
  "if token then return token; end",
  "return nil, detail; end",
].join(" ");

function enrolModule({ domain }: AccountHost): string {
  return `require "core.modulemanager".get_module(${luaString(domain)}, "muster_enrol")`;
}
