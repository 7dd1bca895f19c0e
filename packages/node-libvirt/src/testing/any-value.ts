import fc from "fast-check";
import type { Node } from "../xdr/schema.ts";

/** Any value that fits a schema, small enough to make many. */
export function anyValue(node: Node): fc.Arbitrary<unknown> {
  switch (node.kind) {
    case "int":
      return fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff });
    case "uint":
      return fc.nat({ max: 0xffff_ffff });
    case "hyper":
      return fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n });
    case "uhyper":
      return fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
    case "double":
      return fc.double({ noNaN: true });
    case "uuid":
      return fc.uuid();
    case "text":
      return fc.string({ maxLength: 12 }).filter((value) => !value.includes("\0"));
    case "bytes":
      return fc.uint8Array({ maxLength: 12 });
    case "optional":
      return fc.option(anyValue(node.item));
    case "array":
      return fc.array(anyValue(node.item), { maxLength: 3 });
    case "vector":
      return fc.array(anyValue(node.item), { minLength: node.items, maxLength: node.items });
    case "struct":
      return fc.record(Object.fromEntries(node.fields.map(([name, field]) => [name, anyValue(field)])), {
        noNullPrototype: true,
      });
    case "union":
      return fc.oneof(
        ...[...node.arms].map(([type, arm]) => fc.record({ type: fc.constant(type), value: anyValue(arm) })),
      );
  }
}
