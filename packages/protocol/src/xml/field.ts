import { Element } from "ltx";

/**
 * How one field of a message stands in XML. Reading yields plain unchecked data: the schema of the message decides
 * what is right, so that every fault names its field (S1).
 */
export type Field<Value> = {
  readonly write: (element: Element, name: string, value: Value) => void;
  readonly read: (element: Element, name: string) => unknown;
  /** Name of the child element that carries the field, where it is one; attributes have none. */
  readonly childName: (name: string) => string | undefined;
  /** What it looks like on the wire: the specification is made of it. */
  readonly form: FieldForm;
};

/** `children`: one for each entry, in order; without an entry there is none. */
export type FieldForm = {
  readonly in: "attribute" | "child" | "children";
  readonly holds: "text" | "whole number" | "flag" | "name and value" | "fields";
  /** Of `fields`: those of the element. */
  readonly fields?: FieldForms;
};
export type FieldForms = Readonly<Record<string, Pick<Field<never>, "childName" | "form">>>;

/** One field per key; optional keys are written only where present. */
export type Fields<Value> = { readonly [Key in keyof Value]-?: Field<NonNullable<Value[Key]>> };

/** Text as an attribute. */
export const text: Field<string> = {
  write: (element, name, value) => {
    element.attrs[wireName(name)] = value;
  },
  read: (element, name) => element.attrs[wireName(name)],
  childName: () => undefined,
  form: { in: "attribute", holds: "text" },
};

/** A whole number as an attribute. What is no plain decimal is handed on as text, for the schema to refuse by name. */
export const integer: Field<number> = {
  write: (element, name, value) => {
    element.attrs[wireName(name)] = String(value);
  },
  read: (element, name) => {
    const written = element.attrs[wireName(name)];
    return written !== undefined && /^-?\d{1,16}$/.test(written) ? Number(written) : written;
  },
  childName: () => undefined,
  form: { in: "attribute", holds: "whole number" },
};

/** `true` or `false` as an attribute. */
export const flag: Field<boolean> = {
  write: (element, name, value) => {
    element.attrs[wireName(name)] = value ? "true" : "false";
  },
  read: (element, name) => {
    const written = element.attrs[wireName(name)];
    return written === "true" ? true : written === "false" ? false : written;
  },
  childName: () => undefined,
  form: { in: "attribute", holds: "flag" },
};

/** Text as a child element, for what people read or write. */
export const line: Field<string> = {
  write: (element, name, value) => {
    element.c(wireName(name)).t(value);
  },
  read: (element, name) => element.getChild(wireName(name))?.getText(),
  childName: wireName,
  form: { in: "child", holds: "text" },
};

/** Repeated text children under a singular name: `<image>a</image><image>b</image>`. */
export function texts(singular: string): Field<readonly string[]> {
  return {
    write: (element, _name, values) => {
      for (const value of values) element.c(singular).t(value);
    },
    read: (element) => element.getChildren(singular).map((child) => child.getText()),
    childName: () => singular,
    form: { in: "children", holds: "text" },
  };
}

/** The same for a list that is left out rather than empty. */
export function textsIfAny(singular: string): Field<readonly string[]> {
  const list = texts(singular);
  return { ...list, read: (element, name) => (element.getChild(singular) ? list.read(element, name) : undefined) };
}

/** A map as repeated `<label name="" value=""/>`. */
export function pairs(singular: string): Field<Readonly<Record<string, string>>> {
  return {
    write: (element, _name, values) => {
      for (const name of Object.keys(values).sort()) element.c(singular, { name, value: values[name] ?? "" });
    },
    read: (element) =>
      Object.fromEntries(element.getChildren(singular).map((child) => [child.attrs.name ?? "", child.attrs.value])),
    childName: () => singular,
    form: { in: "children", holds: "name and value" },
  };
}

/** A nested object as one child element. */
export function nested<Value extends object>(fields: Fields<Value>): Field<Value> {
  return {
    write: (element, name, value) => writeFields(element.c(wireName(name)), fields, value),
    read: (element, name) => {
      const child = element.getChild(wireName(name));
      return child === undefined ? undefined : readFields(child, fields);
    },
    childName: wireName,
    form: { in: "child", holds: "fields", fields },
  };
}

/** Nested objects as repeated children under a singular name. */
export function nestedList<Value extends object>(singular: string, fields: Fields<Value>): Field<readonly Value[]> {
  return {
    write: (element, _name, values) => {
      for (const value of values) writeFields(element.c(singular), fields, value);
    },
    read: (element) => element.getChildren(singular).map((child) => readFields(child, fields)),
    childName: () => singular,
    form: { in: "children", holds: "fields", fields },
  };
}

export function writeFields<Value extends object>(element: Element, fields: Fields<Value>, value: Value): void {
  for (const name of keysOf(fields)) {
    const part = value[name];
    if (part !== undefined && part !== null) fields[name].write(element, String(name), part);
  }
}

export function readFields<Value extends object>(element: Element, fields: Fields<Value>): Record<string, unknown> {
  const plain: Record<string, unknown> = {};
  for (const name of keysOf(fields)) {
    const part = fields[name].read(element, String(name));
    if (part !== undefined) plain[String(name)] = part;
  }
  return plain;
}

/** Names of children we do not know and whose sender says that they must be understood (`required="true"`). */
export function unknownRequired<Value extends object>(element: Element, fields: Fields<Value>): string[] {
  const known = new Set(keysOf(fields).map((name) => fields[name].childName(String(name))));
  return element
    .getChildElements()
    .filter((child) => child.attrs.required === "true" && !known.has(child.getName()))
    .map((child) => child.getName());
}

/** `memoryMiB` stands as `memory-mib` on the wire. */
export function wireName(name: string): string {
  return name
    .replace(/MiB(?=[A-Z]|$)/, "-mib")
    .replace(/GiB(?=[A-Z]|$)/, "-gib")
    .replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function keysOf<Value extends object>(fields: Fields<Value>): (keyof Value)[] {
  return Object.keys(fields) as (keyof Value)[];
}

export function elementOf(name: string, namespace: string): Element {
  return new Element(name, { xmlns: namespace });
}
