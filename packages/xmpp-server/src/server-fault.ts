import { assertNever, describeFaults, type FieldFault } from "@muster/base";

/** Why a server could not be set up, started or asked. Each has a remedy: see `describeServerFault`. */
export type ServerFault =
  | { readonly kind: "bad-site"; readonly faults: readonly FieldFault[] }
  | { readonly kind: "binary-missing"; readonly binary: string; readonly debianPackage: string }
  | { readonly kind: "user-missing"; readonly user: string }
  | { readonly kind: "folder-unusable"; readonly path: string; readonly reason: string }
  | { readonly kind: "disk-full"; readonly path: string }
  | { readonly kind: "address-unavailable"; readonly address: string }
  | {
      readonly kind: "port-in-use";
      readonly address: string;
      readonly port: number;
      /** Process that listens there (`1234 prosody`), where the system tells. */
      readonly holder?: string;
    }
  | { readonly kind: "port-refused"; readonly address: string; readonly port: number; readonly reason: string }
  | {
      readonly kind: "port-not-opened";
      readonly address: string;
      readonly port: number;
      readonly logTail: readonly string[];
    }
  | {
      readonly kind: "module-not-loaded";
      readonly module: string;
      readonly host: string;
      readonly logTail: readonly string[];
    }
  | { readonly kind: "already-running"; readonly pid: number; readonly path: string }
  | { readonly kind: "died-at-start"; readonly exit: string; readonly logTail: readonly string[] }
  | {
      readonly kind: "start-timed-out";
      readonly waitedMs: number;
      readonly logTail: readonly string[];
    }
  | { readonly kind: "openssl-failed"; readonly step: string; readonly output: string }
  | { readonly kind: "called-off" }
  | { readonly kind: "not-running" }
  | { readonly kind: "admin-failed"; readonly reason: string }
  | { readonly kind: "account-exists"; readonly account: string };

/** One fault as a message for people: what is wrong and what to do. */
export function describeServerFault(fault: ServerFault): string {
  switch (fault.kind) {
    case "bad-site":
      return `the XMPP server's settings are wrong: ${describeFaults(fault.faults)}`;
    case "binary-missing":
      return `${fault.binary} is not installed: apt-get install --no-install-recommends ${fault.debianPackage}`;
    case "user-missing":
      return `there is no user "${fault.user}" to run the XMPP server as: install the package prosody or ejabberd, or name another user`;
    case "folder-unusable":
      return `${fault.path} cannot be used: ${fault.reason}`;
    case "disk-full":
      return `no space left to write ${fault.path}: free some and start again`;
    case "address-unavailable":
      return `no interface of this machine has the address ${fault.address}: choose one that it has (any 127.x.y.z on Linux)`;
    case "port-in-use":
      return `${fault.address}:${fault.port} is in use${fault.holder === undefined ? "" : ` by process ${fault.holder}`}: stop it, or choose another address`;
    case "port-refused":
      return `${fault.address}:${fault.port} cannot be listened on: ${fault.reason}`;
    case "port-not-opened":
      return withLog(`the XMPP server started without opening ${fault.address}:${fault.port}`, fault.logTail);
    case "module-not-loaded":
      return withLog(
        `the XMPP server started without its module ${fault.module} on ${fault.host}: restore deploy/prosody-modules and deploy/ejabberd-modules`,
        fault.logTail,
      );
    case "already-running":
      return `process ${fault.pid} already serves ${fault.path} and does not stop: end it, then start again`;
    case "died-at-start":
      return withLog(`the XMPP server died at start (${fault.exit})`, fault.logTail);
    case "start-timed-out":
      return withLog(`the XMPP server did not get ready in ${fault.waitedMs} ms`, fault.logTail);
    case "openssl-failed":
      return `openssl could not ${fault.step}: ${fault.output}`;
    case "called-off":
      return "the XMPP server was stopped while it was starting";
    case "not-running":
      return "the XMPP server is not running: start it first";
    case "admin-failed":
      return `the XMPP server refused an administration command: ${fault.reason}`;
    case "account-exists":
      return `the account "${fault.account}" exists already: remove it before enrolling it anew`;
    default:
      return assertNever(fault);
  }
}

/** A failed file operation as the fault that it means; other errors are bugs and are thrown on. */
export function fileFault(error: unknown, path: string): ServerFault {
  const code = errorCode(error);
  switch (code) {
    case "ENOSPC":
    case "EDQUOT":
      return { kind: "disk-full", path };
    case "EACCES":
    case "EPERM":
      return { kind: "folder-unusable", path, reason: "not permitted; give the folder to this user or choose another" };
    case "EROFS":
      return { kind: "folder-unusable", path, reason: "the file system is read-only" };
    case "ENOTDIR":
    case "EEXIST":
      return { kind: "folder-unusable", path, reason: "a file is in the way" };
    case "ENOENT":
      return { kind: "folder-unusable", path, reason: "it does not exist" };
    default:
      throw error;
  }
}

/** `ENOENT` and the like of a failed system call. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

function withLog(message: string, logTail: readonly string[]): string {
  return logTail.length === 0 ? message : `${message}; the last lines of its log:\n  ${logTail.join("\n  ")}`;
}
