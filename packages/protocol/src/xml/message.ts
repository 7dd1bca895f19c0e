import { decode, err, type FieldFault, type Result } from "@muster/base";
import type { Element } from "ltx";
import type { z } from "zod";
import { elementOf, type FieldForms, type Fields, readFields, unknownRequired, writeFields } from "./field.ts";

/** A message of the vocabulary: one element, its schema and its codec side by side. */
export type Message<Value> = {
  readonly name: string;
  readonly namespace: string;
  /** What the values are, and how each field stands on the wire: the specification is made of both. */
  readonly schema: z.ZodType;
  readonly fields: FieldForms;
  encode(value: Value): Element;
  /** All faults together; unknown attributes and children are ignored, unknown *required* children refused. */
  decode(element: Element): Result<Value, FieldFault[]>;
  /** Whether the element is this message, by name and namespace. */
  matches(element: Element): boolean;
};

/** Binds a schema to its place in XML. `fields` must name every key of the schema: the compiler checks it. */
export function defineMessage<Schema extends z.ZodType<object>>(definition: {
  readonly name: string;
  readonly namespace: string;
  readonly schema: Schema;
  readonly fields: Fields<z.output<Schema>>;
}): Message<z.output<Schema>> {
  const { name, namespace, schema, fields } = definition;
  return {
    name,
    namespace,
    schema,
    fields,
    matches: (element) => element.is(name, namespace),
    encode(value) {
      const element = elementOf(name, namespace);
      writeFields(element, fields, value);
      return element;
    },
    decode(element) {
      if (!element.is(name, namespace))
        return err([{ field: "", message: `expected <${name} xmlns="${namespace}"/>` }]);
      const unknown = unknownRequired(element, fields);
      if (unknown.length > 0)
        return err(
          unknown.map((child) => ({
            field: child.slice(0, 64),
            message: "required by the sender, not understood here",
          })),
        );
      return decode(schema, readFields(element, fields));
    },
  };
}
