import type { Connection } from "@xmpp/client";

/**
 * Takes from an xmpp.js entity what is ours to decide: when to connect again, what to answer, and what becomes of what
 * it throws. Do this once, before it connects.
 */
export function tameEntity(entity: Connection, openWithinMs: number): void {
  entity.reconnect.stop();
  // The library gives up on a step by itself, and then hangs; our own deadline covers all steps and ends the link.
  entity.timeout = openWithinMs;
  // Without a listener an error would be thrown; those of a link in use are heard by the link.
  entity.on("error", () => {});
  keepAnswersToOurselves(entity);
  containThrows(entity);
}

/** The library answers requests by routes of its own; ours are the only ones (X4), so its answers go nowhere. */
function keepAnswersToOurselves(entity: Connection): void {
  const send = entity.send.bind(entity);
  entity.send = (element) => {
    const isAnswer = element.name === "iq" && (element.attrs.type === "result" || element.attrs.type === "error");
    return isAnswer ? Promise.resolve() : send(element);
  };
}

/** The library throws on a stanza whose address it cannot parse, in the middle of a packet: the rest has to go on. */
function containThrows(entity: Connection): void {
  const emit = entity.emit.bind(entity);
  entity.emit = (event, ...args) => {
    if (event === "error") return emit(event, ...args);
    try {
      return emit(event, ...args);
    } catch (error) {
      return emit("error", error);
    }
  };
}
