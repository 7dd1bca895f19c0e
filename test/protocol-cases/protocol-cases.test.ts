import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as protocol from "@muster/protocol";
import fc from "fast-check";
import { Element, parse } from "ltx";
import { describe, expect, it } from "vitest";
import { messageTables } from "./message-tables.ts";
import { VOCABULARY } from "./vocabulary.ts";

const FOLDER = import.meta.dirname;

describe("golden pairs: what is written is what is read, and an independent implementation can check itself", () => {
  for (const [folder, message] of Object.entries(VOCABULARY)) {
    const files = readdirSync(join(FOLDER, folder));
    const cases = files.filter((file) => file.endsWith(".xml")).map((file) => file.slice(0, -".xml".length));

    it(`${folder}: has at least one good case`, () => {
      expect(cases.some((name) => files.includes(`${name}.json`))).toBe(true);
    });

    for (const name of cases) {
      const element = (): Element => parse(readFileSync(join(FOLDER, folder, `${name}.xml`), "utf8").trim());

      if (files.includes(`${name}.json`)) {
        const value: unknown = JSON.parse(readFileSync(join(FOLDER, folder, `${name}.json`), "utf8"));
        it(`${folder}/${name}: reads as its value`, () => {
          expect(message.decode(element())).toEqual({ ok: true, value });
        });
        it(`${folder}/${name}: is written so that it reads the same`, () => {
          const written = parse(message.encode(value).toString());
          expect(message.decode(written)).toEqual({ ok: true, value });
          if (!name.startsWith("lenient")) expect(message.encode(value).toString()).toBe(collapsed(element()));
        });
      } else {
        const faults: unknown = JSON.parse(readFileSync(join(FOLDER, folder, `${name}.faults.json`), "utf8"));
        it(`${folder}/${name}: S1: is refused, naming the field`, () => {
          const decoded = message.decode(element());
          expect(decoded.ok ? [] : decoded.error.map(({ field }) => field)).toEqual(faults);
        });
      }
    }
  }
});

it("the specification's tables say what the messages are", async () => {
  const messages = Object.entries(VOCABULARY).map(([folder, message]) => ({ folder, message }));
  await expect(messageTables(messages)).toMatchFileSnapshot("../../docs/protocol-messages.md");
});

describe("S1: garbage never gets through and never throws", () => {
  const attribute = fc.dictionary(fc.stringMatching(/^[a-z-]{1,12}$/), fc.string({ maxLength: 40 }), { maxKeys: 6 });
  const { element } = fc.letrec<{ element: Element }>((tie) => ({
    element: fc
      .record({
        name: fc.stringMatching(/^[a-z][a-z-]{0,10}$/),
        attrs: attribute,
        children: fc.array(fc.oneof({ depthSize: "small" }, fc.string({ maxLength: 20 }), tie("element")), {
          maxLength: 4,
        }),
      })
      .map(({ name, attrs, children }) => {
        const built = new Element(name, attrs);
        built.append(...children);
        return built;
      }),
  }));

  for (const [folder, message] of Object.entries(VOCABULARY)) {
    it(`${folder}: answers any element with a value of its schema or with named faults`, () => {
      fc.assert(
        fc.property(element, (garbage) => {
          garbage.name = message.name;
          garbage.attrs.xmlns = message.namespace;
          const decoded = message.decode(garbage);
          if (decoded.ok) expect(message.decode(parse(message.encode(decoded.value).toString())).ok).toBe(true);
          else expect(decoded.error.length).toBeGreaterThan(0);
        }),
        { numRuns: 150 },
      );
    });
  }

  it("a required child that is not understood is refused, another one is ignored", () => {
    const hello = protocol.helloMessage.encode({ term: 3, manager: "a" });
    hello.c("novelty");
    expect(protocol.helloMessage.decode(hello)).toEqual({ ok: true, value: { term: 3, manager: "a" } });
    hello.c("surprise", { required: "true" });
    const refused = protocol.helloMessage.decode(hello);
    expect(refused.ok ? "" : refused.error[0]?.field).toBe("surprise");
  });
});

/** Cases are indented for people; the indentation is no part of the message. */
function collapsed(element: Element): string {
  const strip = (node: Element): void => {
    if (node.getChildElements().length > 0) node.children = node.children.filter((child) => typeof child !== "string");
    for (const child of node.getChildElements()) strip(child);
  };
  strip(element);
  return element.toString();
}
