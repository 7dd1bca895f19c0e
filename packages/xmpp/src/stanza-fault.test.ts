import { Element, parse } from "ltx";
import { describe, expect, it } from "vitest";
import { decodeStanzaFault, encodeStanzaFault, stanzaFault } from "./stanza-fault.ts";

describe("stanza fault", () => {
  it("survives the wire with its text and its application condition", () => {
    const reason = new Element("refusal", { xmlns: "urn:muster:refusal:1", reason: "no-capacity" });
    const iq = new Element("iq", { type: "error" });
    iq.append(encodeStanzaFault(stanzaFault("resource-constraint", "All <hosts> are full.", reason)));
    const { application, ...fault } = decodeStanzaFault(parse(iq.toString()));
    expect(fault).toEqual({ type: "wait", condition: "resource-constraint", text: "All <hosts> are full." });
    expect(application?.attrs.reason).toBe("no-capacity");
  });

  it("S1: makes something of whatever a peer sends", () => {
    const NS = "urn:ietf:params:xml:ns:xmpp-stanzas";
    const cancel = { type: "cancel", condition: "undefined-condition" };
    for (const xml of [
      "<iq type='error'/>",
      "<iq type='error'><error/></iq>",
      "<iq type='error'><error type='surprise'/></iq>",
      `<iq type='error'><error><surprise xmlns='${NS}'/></error></iq>`,
      `<iq type='error'><error><constructor xmlns='${NS}'/></error></iq>`,
    ]) {
      expect(decodeStanzaFault(parse(xml)), xml).toEqual(cancel);
    }
    const long = `<iq><error type='wait'><text xmlns='${NS}'>${"x".repeat(5000)}</text><gone xmlns='${NS}'/></error></iq>`;
    const fault = decodeStanzaFault(parse(long));
    expect(fault).toMatchObject({ type: "wait", condition: "gone" });
    expect(fault.text).toHaveLength(1000);
  });
});
