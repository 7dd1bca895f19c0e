import { readFileSync } from "node:fs";
import { readSecret, systemClock, systemRng } from "@muster/base";
import type { SiteEntry } from "@muster/federation/state";
import { type Bus, xmppClientBus } from "@muster/xmpp";
import { type Check, ill, well } from "./check.ts";

const LOGIN_MS_MAX = 4_000;

/** Logs in as the site's admin account, with the certificate verified, as any host or person would. */
export async function loginCheck(entry: SiteEntry): Promise<Check> {
  const password = readSecret(entry.tokenFile.replace(/admin-token$/, "admin-password"));
  if (!password.ok)
    return ill("xmpp login", password.error.message, "run the doctor as the user who started the federation");
  const bus = xmppClientBus({
    service: `xmpps://${entry.xmppAddress}:5223`,
    domain: entry.domain,
    username: "admin",
    password: password.value,
    resource: "doctor",
    caPem: readFileSync(entry.caFile, "utf8"),
    clock: systemClock,
    rng: systemRng,
  });
  const status = await settle(bus);
  await bus.stop();
  if (status === "online")
    return well("xmpp login", `admin@${entry.domain} at ${entry.xmppAddress}, certificate verified`);
  return ill(
    "xmpp login",
    `admin@${entry.domain}: ${status}`,
    `is the XMPP server up? see ${entry.server}.log in the site's state folder`,
  );
}

/** Waits until the link is up, refused, or has had its time. */
function settle(bus: Bus): Promise<string> {
  return new Promise((resolve) => {
    let last = "no answer";
    const cancel = systemClock.setTimer(LOGIN_MS_MAX, () => resolve(last));
    bus.onStatus((status) => {
      if (status.kind === "offline") last = status.reason;
      if (status.kind !== "online" && status.kind !== "refused") return;
      cancel();
      resolve(status.kind === "online" ? "online" : status.text);
    });
    bus.start();
  });
}
