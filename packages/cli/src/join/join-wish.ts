import { isAbsolute } from "node:path";
import { decode, describeFaults, err, ok, type Result } from "@muster/base";
import { imageReferenceSchema, labelsSchema, resourcesSchema } from "@muster/protocol";

/** What the host's admin chose when joining. */
export type JoinWish = {
  readonly hypervisor:
    | { readonly kind: "simulated" }
    | {
        readonly kind: "libvirt";
        /** A private libvirtd with libvirt's test driver instead of the machine's. */
        readonly embedded: boolean;
        readonly uri?: string | undefined;
        readonly socket?: string | undefined;
      };
  /** What the machine has, where the hypervisor reports it wrongly; kinds left out are as reported. */
  readonly total: Readonly<Record<string, number>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly images: readonly string[];
};

/** The options as the command line gives them. */
export type JoinOptions = {
  readonly hypervisor: "libvirt" | "simulated";
  readonly uri?: string;
  readonly socket?: string;
  readonly embedded?: boolean;
  readonly cpus?: number;
  readonly memory?: number;
  readonly disk?: number;
  readonly gpus?: number;
  readonly label: readonly string[];
  readonly image: readonly string[];
};

const totalSchema = resourcesSchema.partial();
const imagesSchema = imageReferenceSchema.array().max(200);
const URI_MAX = 256;

/** Checks the options together; the message names the one at fault. */
export function readJoinWish(options: JoinOptions): Result<JoinWish, string> {
  const hypervisor = readHypervisor(options);
  if (!hypervisor.ok) return hypervisor;
  const { cpus: vcpus, memory: memoryMiB, disk: diskGiB, gpus } = options;
  const given = Object.entries({ vcpus, memoryMiB, diskGiB, gpus }).filter(([, amount]) => amount !== undefined);
  const total = decode(totalSchema, Object.fromEntries(given));
  if (!total.ok) return err(`--cpus, --memory, --disk, --gpus: ${describeFaults(total.error)}`);
  const pairs = options.label.map((pair): [string, string] => {
    const at = pair.indexOf("=");
    return at < 0 ? [pair, ""] : [pair.slice(0, at), pair.slice(at + 1)];
  });
  const labels = decode(labelsSchema, Object.fromEntries(pairs));
  if (!labels.ok) return err(`--label: ${describeFaults(labels.error)}; a label is written key=value`);
  const images = decode(imagesSchema, options.image);
  if (!images.ok) return err(`--image: ${describeFaults(images.error)}`);
  return ok({
    hypervisor: hypervisor.value,
    total: Object.fromEntries(given.map(([kind, amount]) => [kind, amount ?? 0])),
    labels: labels.value,
    images: images.value,
  });
}

function readHypervisor(options: JoinOptions): Result<JoinWish["hypervisor"], string> {
  const { hypervisor: kind, uri, socket, embedded = false } = options;
  if (kind === "simulated") {
    const stray = (["uri", "socket", "embedded"] as const).find((name) => options[name] !== undefined);
    return stray === undefined ? ok({ kind }) : err(`--${stray} is for --hypervisor libvirt`);
  }
  if (embedded && (uri !== undefined || socket !== undefined))
    return err("--embedded brings a libvirtd of its own: leave --uri and --socket out");
  if (uri !== undefined && (uri === "" || uri.length > URI_MAX))
    return err("--uri must be libvirt's connection URI: qemu:///system");
  if (socket !== undefined && !isAbsolute(socket)) return err("--socket must be an absolute path");
  return ok({ kind, embedded, uri, socket });
}
