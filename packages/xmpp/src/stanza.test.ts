import { Element, parse } from "ltx";
import { describe, expect, it } from "vitest";
import { adoptStanza, hasForbiddenCharacter, type ParsedElement } from "./stanza.ts";

const BOUNDS = { maxBytes: 1000, maxDepth: 8 };

describe("adoptStanza", () => {
  it("copies a stanza of any class of element, without its stream and the content namespace", () => {
    const stream = parse(
      "<stream xmlns='jabber:client'><iq xmlns='jabber:client' id='1'>a<q xmlns='urn:x'><b c='d'/></q>e</iq></stream>",
    );
    const [iq] = stream.getChildElements();
    const adopted = adoptStanza(iq as unknown as ParsedElement, BOUNDS);
    expect(adopted.kind).toBe("stanza");
    expect(adopted.stanza.toString()).toBe(`<iq id="1">a<q xmlns="urn:x"><b c="d"/></q>e</iq>`);
    expect(adopted.stanza).toBeInstanceOf(Element);
    expect(adopted.stanza.parent).toBeNull();
    expect(adopted.stanza.getChildElements()).toHaveLength(1);
  });

  it("S2: keeps only the head of a stanza that is too big", () => {
    const big = parse(`<iq id='1' type='get'><q>${"x".repeat(1000)}</q></iq>`);
    const adopted = adoptStanza(big as unknown as ParsedElement, BOUNDS);
    expect(adopted.kind).toBe("too-big");
    expect(adopted.stanza.toString()).toBe(`<iq id="1" type="get"/>`);
  });

  it("S2: keeps only the head of a stanza that is too deep, however deep", () => {
    let deep: ParsedElement = { name: "d", attrs: {}, children: ["x"] };
    for (let level = 0; level < 100_000; level++) deep = { name: "d", attrs: {}, children: [deep] };
    const adopted = adoptStanza({ name: "iq", attrs: { id: "1" }, children: [deep] }, { ...BOUNDS, maxBytes: 1e9 });
    expect(adopted.kind).toBe("too-big");
    const level8 = parse("<iq><a><b><c><d><e><f><g>x</g></f></e></d></c></b></a></iq>");
    expect(adoptStanza(level8 as unknown as ParsedElement, BOUNDS).kind).toBe("stanza");
    const level9 = parse("<iq><a><b><c><d><e><f><g><h>x</h></g></f></e></d></c></b></a></iq>");
    expect(adoptStanza(level9 as unknown as ParsedElement, BOUNDS).kind).toBe("too-big");
  });
});

describe("hasForbiddenCharacter", () => {
  it("finds what XML forbids and lets all else pass", () => {
    for (const text of ["\u0000", "a\u001fb", "\ufffe", "\ud800", "x\udc00y"]) {
      expect(hasForbiddenCharacter(text), JSON.stringify(text)).toBe(true);
    }
    for (const text of ["", "\t\r\n", "Zürich 雪 𝄞", "\u007f\u0085"]) expect(hasForbiddenCharacter(text)).toBe(false);
  });
});
