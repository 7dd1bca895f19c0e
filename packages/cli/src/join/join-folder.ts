import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { err, ok, type Result } from "@muster/base";
import { type JoinBundle, joinBundleSchema } from "@muster/protocol";
import { parse, stringify } from "yaml";
import type { JoinWish } from "./join-wish.ts";

/** The folder of a host that joined: configuration, secrets and state of its host manager, for its owner alone. */
export type JoinFolder = {
  readonly configPath: string;
  /** Takes everything away again, where this join made it; a folder that was in use before stays as it is. */
  undo(): void;
};

const ownerSchema = joinBundleSchema.pick({ site: true, name: true }).loose();

/** Writes what the host manager starts from. The error says what is in the way; then nothing was written. */
export function writeJoinFolder(folder: string, bundle: JoinBundle, wish: JoinWish): Result<JoinFolder, string> {
  const configPath = join(folder, "host.yaml");
  const used = usage(folder, configPath, bundle);
  if (!used.ok) return used;
  const undo = (): void => {
    if (used.value === "new") rmSync(folder, { recursive: true, force: true });
  };
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    chmodSync(folder, 0o700);
    const paths = {
      state: join(folder, "state"),
      password: join(folder, "password"),
      token: join(folder, "enrol-token"),
      ca: join(folder, "ca.crt"),
      hypervisor: join(folder, "v"),
    };
    writeSecretly(paths.token, `${bundle.token}\n`);
    if (bundle.ca !== undefined) writeSecretly(paths.ca, bundle.ca);
    writeSecretly(configPath, stringify(hostConfig(bundle, wish, paths)));
    return ok({ configPath, undo });
  } catch (cause) {
    undo();
    return err(`${folder} cannot be written: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
}

/** `new` when nothing is there yet, `rejoined` when this very host joined before: it keeps its password and journal. */
function usage(folder: string, configPath: string, bundle: JoinBundle): Result<"new" | "rejoined", string> {
  try {
    if (!existsSync(folder) || readdirSync(folder).length === 0) return ok("new");
    if (!existsSync(configPath))
      return err(`${folder} holds something else; name an empty folder, or one that does not exist, with --state`);
    const owner = ownerSchema.safeParse(parse(readFileSync(configPath, "utf8")));
    if (owner.success && owner.data.site === bundle.site && owner.data.name === bundle.name) return ok("rejoined");
    const whose = owner.success ? `of host ${owner.data.name} of ${owner.data.site}` : "not readable";
    return err(`${configPath} is ${whose}; name another folder with --state, or remove this one`);
  } catch (cause) {
    return err(`${folder} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
}

type Paths = Readonly<Record<"state" | "password" | "token" | "ca" | "hypervisor", string>>;

/** `host.yaml`, as plain data. */
function hostConfig(bundle: JoinBundle, wish: JoinWish, paths: Paths): object {
  const { site, name, service, ca } = bundle;
  return {
    site,
    name,
    state: paths.state,
    xmpp: {
      service,
      passwordFile: paths.password,
      enrolTokenFile: paths.token,
      ...(ca === undefined ? {} : { caFile: paths.ca }),
    },
    hypervisor: hypervisorOf(wish.hypervisor, paths),
    total: wish.total,
    labels: wish.labels,
    images: wish.images,
  };
}

function hypervisorOf(hypervisor: JoinWish["hypervisor"], paths: Paths): object {
  if (hypervisor.kind === "simulated") return { kind: "simulated" };
  if (hypervisor.embedded) return { kind: "libvirt", embedded: paths.hypervisor };
  const { uri, socket } = hypervisor;
  return { kind: "libvirt", ...(uri === undefined ? {} : { uri }), ...(socket === undefined ? {} : { socket }) };
}

function writeSecretly(path: string, content: string): void {
  writeFileSync(path, content, { mode: 0o600 });
  // The mode above counts for new files only.
  chmodSync(path, 0o600);
}
