import { openAsBlob } from "node:fs";
import { systemClock } from "@muster/base";
import type { SiteClient } from "@muster/client";
import type { ImageAddInput, ImageView } from "@muster/protocol";
import { type Command, InvalidArgumentError, Option } from "commander";
import { CommandFailed, EXIT } from "../exit-code.ts";
import { describeImageFile } from "../image-file.ts";
import { type Column, formatList, formatObject } from "../output/format.ts";
import { parseDuration, parseMemory } from "../quantity.ts";
import { openSession } from "../session.ts";
import { confirm, print, say } from "../terminal.ts";
import { expectValue, type Wait } from "../wait.ts";

const COLUMNS: readonly Column<ImageView>[] = [
  { heading: "TAGS", value: ({ tags }) => tags.join(",") || "-" },
  { heading: "STATE", value: ({ state }) => state },
  { heading: "DISK MIB", value: ({ virtualMiB }) => virtualMiB ?? "-" },
  { heading: "FORMAT", value: ({ format }) => format },
  { heading: "VMS", value: ({ vms }) => vms },
  { heading: "HOSTS", value: ({ hosts }) => hosts.length },
  { heading: "PROJECTS", value: ({ projects }) => (projects === "*" ? "*" : projects.join(",")) },
  { heading: "DIGEST", value: ({ digest }) => digest.slice(0, 19) },
];

/** How long an image that the site fetches is waited for, where `--wait` does not say. */
const WAIT_MS_DEFAULT = 30 * 60_000;
const LOOK_MS = 500;

type AddOptions = {
  readonly tag: readonly string[];
  readonly sha256?: string;
  readonly project: readonly string[];
  readonly imageFormat?: "qcow2" | "raw";
  readonly minMemory?: number;
  readonly wait?: Wait;
};

export function addImageCommands(program: Command): void {
  const image = program.command("image").description("disk images of the site");
  addAdd(image);
  image
    .command("list")
    .description("images that you may use or manage")
    .action(async (_options: object, command: Command) => {
      const { client, format } = openSession(command);
      print(formatList(expectValue(await client.images()), COLUMNS, format));
    });
  image
    .command("show <image>")
    .description("one image, by tag or sha256:<digest>: its state, how far it has come in, and the hosts that have it")
    .action(async (name: string, _options: object, command: Command) => {
      const { client, format } = openSession(command);
      print(formatObject(expectValue(await client.image(name)), format));
    });
  image
    .command("tag <image> <tag>")
    .description("give a tag to an image; the image that had it loses it, accepted requests keep theirs")
    .action(async (name: string, tag: string, _options: object, command: Command) => {
      const { client, format } = openSession(command);
      print(formatList([expectValue(await client.tagImage(name, tag))], COLUMNS, format));
    });
  addAction(image, "approve", "let an image that somebody added be used, and fetch it where it has a URL");
  addAction(image, "withdraw", "give it to no new VM; those that have it go on");
  addRemove(image);
}

function addAdd(image: Command): void {
  image
    .command("add <file-or-url>")
    .description("add an image: a file of this machine is sent, a URL is fetched by the site")
    .option("--tag <tag>", "name for people; may be repeated", collect, [])
    .option("--sha256 <digest>", "digest of the file; needed with a URL")
    .option("--project <name>", "let only this project use it; may be repeated", collect, [])
    .addOption(new Option("--image-format <format>", "format of the disk").choices(["qcow2", "raw"]))
    .option("--min-memory <size>", "least memory with which it starts, such as 96MiB", parseMemory)
    .option("--wait [duration]", "wait until it is available", parseDuration)
    .action(async (source: string, options: AddOptions, command: Command) => {
      const { client, format } = openSession(command);
      const isUrl = /^https?:\/\//.test(source);
      const added = isUrl ? await addUrl(client, source, options) : await addFile(client, source, options);
      const shown = options.wait === undefined ? added : await untilAvailable(client, added, options.wait);
      if (format === "table" && shown.reason !== undefined) say(`${shown.digest} is ${shown.state}: ${shown.reason}`);
      print(formatList([shown], COLUMNS, format));
    });
}

async function addUrl(client: SiteClient, url: string, options: AddOptions): Promise<ImageView> {
  if (options.sha256 === undefined)
    throw new CommandFailed("a URL needs --sha256: what is fetched is compared with it", EXIT.usage);
  const format = options.imageFormat ?? (/\.raw$/.test(new URL(url).pathname) ? "raw" : "qcow2");
  return expectValue(await client.addImage({ ...addOf(options, digestOf(options.sha256)), format, url }));
}

async function addFile(client: SiteClient, path: string, options: AddOptions): Promise<ImageView> {
  const file = await describeImageFile(path);
  if (!file.ok) throw new CommandFailed(file.error, EXIT.usage);
  const digest = options.sha256 === undefined ? file.value.digest : digestOf(options.sha256);
  if (digest !== file.value.digest)
    throw new CommandFailed(`${path} is ${file.value.digest}, not ${digest}: fetch it again`, EXIT.failed);
  const format = options.imageFormat ?? file.value.format;
  const added = expectValue(await client.addImage({ ...addOf(options, digest), format }));
  if (added.bytes !== undefined) return added;
  if (process.stderr.isTTY) say(`sending ${path}, ${Math.ceil(file.value.bytes / 2 ** 20)} MiB`);
  const sent = await client.sendImage(digest, await openAsBlob(path));
  if (sent.ok) return sent.value;
  // What no guest may have is not left behind half added.
  if (sent.error.kind === "policy-violation" && added.vms === 0) await client.removeImage(digest);
  return expectValue(sent);
}

function addOf({ tag, project, minMemory }: AddOptions, digest: string): ImageAddInput {
  return {
    digest,
    tags: [...tag],
    ...(minMemory === undefined ? {} : { minMemoryMiB: minMemory }),
    projects: project.length === 0 ? "*" : [...project],
  };
}

async function untilAvailable(
  client: SiteClient,
  image: ImageView,
  wait: Exclude<Wait, undefined>,
): Promise<ImageView> {
  const deadlineMs = systemClock.nowMs() + (wait === true ? WAIT_MS_DEFAULT : wait);
  let shown = "";
  for (;;) {
    const now = expectValue(await client.image(image.digest));
    if (now.state === "available") return now;
    const isFailed = now.approved && now.progress === undefined && /could not be fetched/.test(now.reason ?? "");
    if (isFailed || now.state === "withdrawn") throw new CommandFailed(`${now.digest}: ${now.reason}`, EXIT.failed);
    const line = progressLine(now);
    if (line !== shown && process.stderr.isTTY) say(line);
    shown = line;
    if (systemClock.nowMs() + LOOK_MS > deadlineMs) throw new CommandFailed(`still waiting: ${line}`, EXIT.timedOut);
    await new Promise<void>((resolve) => systemClock.setTimer(LOOK_MS, resolve));
  }
}

function progressLine({ progress, reason, state }: ImageView): string {
  if (progress === undefined) return reason ?? state;
  const { bytes, totalBytes } = progress;
  const mib = (amount: number): number => Math.floor(amount / 2 ** 20);
  return totalBytes === undefined ? `${mib(bytes)} MiB came` : `${mib(bytes)} of ${mib(totalBytes)} MiB came`;
}

function addAction(image: Command, action: "approve" | "withdraw", description: string): void {
  image
    .command(`${action} <image>`)
    .description(description)
    .action(async (name: string, _options: object, command: Command) => {
      const { client, format } = openSession(command);
      print(formatList([expectValue(await client.actOnImage(name, action))], COLUMNS, format));
    });
}

function addRemove(image: Command): void {
  image
    .command("remove <image>")
    .description("remove an image that no VM uses, with its content")
    .option("--yes", "do not ask")
    .action(async (name: string, options: { yes?: boolean }, command: Command) => {
      const { client } = openSession(command);
      await confirm(`Remove ${name}?`, options.yes);
      expectValue(await client.removeImage(name));
      say(`${name} is removed`);
    });
}

/** `sha256sum` prints bare hex digits. */
function digestOf(text: string): string {
  return text.startsWith("sha256:") ? text : `sha256:${text.toLowerCase()}`;
}

function collect(value: string, previous: readonly string[]): readonly string[] {
  if (value === "") throw new InvalidArgumentError("must not be empty");
  return [...previous, value];
}
