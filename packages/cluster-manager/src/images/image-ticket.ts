/**
 * The right to read one image for a while, as part of its address: hosts have no token of the API. Every manager of the
 * site makes and checks the same tickets.
 */
import { createHmac, timingSafeEqual } from "node:crypto";

/** How long after its order a host may begin to fetch. */
export const TICKET_MS = 3_600_000;

const KEY_LABEL = "muster image tickets 1";
const TICKET = /^(?<expiresMs>\d{1,16})\.(?<seal>[A-Za-z0-9_-]{43})$/;

export type ImageTickets = {
  /** `<base>/v1/images/<digest>/content?ticket=…`. */
  urlOf(base: string, digest: string, nowMs: number): string;
  /** Whether the ticket lets its bearer read this image now. */
  admits(ticket: string, digest: string, nowMs: number): boolean;
};

/** `secret`: one that all managers of the site share. */
export function imageTickets(secret: string): ImageTickets {
  const key = createHmac("sha256", secret).update(KEY_LABEL).digest();
  const sealOf = (digest: string, expiresMs: number): string =>
    createHmac("sha256", key).update(`${digest} ${expiresMs}`).digest("base64url");
  return {
    urlOf(base, digest, nowMs) {
      const expiresMs = nowMs + TICKET_MS;
      return new URL(`/v1/images/${digest}/content?ticket=${expiresMs}.${sealOf(digest, expiresMs)}`, base).href;
    },
    admits(ticket, digest, nowMs) {
      const { expiresMs, seal } = TICKET.exec(ticket)?.groups ?? {};
      if (expiresMs === undefined || seal === undefined) return false;
      const own = sealOf(digest, Number(expiresMs));
      return timingSafeEqual(Buffer.from(seal), Buffer.from(own)) && Number(expiresMs) > nowMs;
    },
  };
}
