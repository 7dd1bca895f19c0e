import type { Client } from "@xmpp/client";
import { Element } from "ltx";
import { EnrolmentError } from "./link-end.ts";

export type Enrolment = {
  readonly entity: Pick<Client, "iqCaller">;
  readonly domain: string;
  readonly username: string;
  readonly password: string;
  readonly token: string;
  readonly timeoutMs: number;
};

/**
 * Presents the token (XEP-0445 section 4) and registers the account (XEP-0077 section 3.1) on a stream that is not yet
 * authenticated, then logs in. Where that is refused we may have been here before, with the answer lost: then the
 * password works, so it is tried all the same.
 *
 * @throws EnrolmentError when neither token nor password is accepted.
 */
export async function enrol(enrolment: Enrolment, logIn: () => Promise<void>): Promise<void> {
  const refusal = await register(enrolment);
  try {
    await logIn();
  } catch (error) {
    if (refusal === undefined || !(error instanceof Error) || error.name !== "SASLError") throw error;
    throw new EnrolmentError(`the server refused to enrol ${enrolment.username}: ${refusal}; ask for a new token`);
  }
}

/** `undefined` when registered; else the stanza error condition. Other failures (the link went) throw. */
async function register(enrolment: Enrolment): Promise<string | undefined> {
  const { entity, domain, username, password, token, timeoutMs } = enrolment;
  const form = new Element("query", "jabber:iq:register");
  form.c("username").t(username);
  form.c("password").t(password);
  try {
    await entity.iqCaller.set(new Element("preauth", { xmlns: "urn:xmpp:pars:0", token }), domain, timeoutMs);
    await entity.iqCaller.set(form, domain, timeoutMs);
    return undefined;
  } catch (error) {
    if (error instanceof Error && error.name === "StanzaError" && "condition" in error) return String(error.condition);
    throw error;
  }
}
