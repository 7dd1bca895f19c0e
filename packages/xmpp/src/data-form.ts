import { Element } from "ltx";

const NS_DATA = "jabber:x:data";

/** A field to be filled in (XEP-0004 section 3.2). */
export type FormField = {
  readonly name: string;
  readonly label: string;
  readonly required: boolean;
  /** Choices, where the value is one of a few. */
  readonly options?: readonly string[];
};

/** A table of results, or one record of them. */
export type FormTable = {
  readonly columns: readonly { readonly name: string; readonly label: string }[];
  readonly rows: readonly (readonly string[])[];
};

/** Fields beyond these are not read: nobody's form has them (S2). */
const FIELDS_MAX = 64;

/** A form for a person to fill in. */
export function encodeForm(title: string, instructions: string, fields: readonly FormField[]): Element {
  const form = new Element("x", { xmlns: NS_DATA, type: "form" });
  form.c("title").t(title);
  form.c("instructions").t(instructions);
  for (const { name, label, required, options } of fields) {
    const field = form.c("field", { var: name, label, type: options === undefined ? "text-single" : "list-single" });
    for (const option of options ?? []) field.c("option", { label: option }).c("value").t(option);
    if (required) field.c("required");
  }
  return form;
}

/** A result for a person to read: one row as plain fields, which every client shows, more as a table. */
export function encodeResult(title: string, { columns, rows }: FormTable): Element {
  const form = new Element("x", { xmlns: NS_DATA, type: "result" });
  form.c("title").t(title);
  const [only] = rows;
  if (rows.length === 1 && only !== undefined) {
    columns.forEach(({ name, label }, index) => {
      form
        .c("field", { var: name, label, type: "text-single" })
        .c("value")
        .t(only[index] ?? "");
    });
    return form;
  }
  const reported = form.c("reported");
  for (const { name, label } of columns) reported.c("field", { var: name, label, type: "text-single" });
  for (const row of rows) {
    const item = form.c("item");
    columns.forEach(({ name }, index) => {
      item
        .c("field", { var: name })
        .c("value")
        .t(row[index] ?? "");
    });
  }
  return form;
}

/** The values of a submitted form below `parent`, first value each; `undefined` where there is none. */
export function decodeSubmission(parent: Element): Readonly<Record<string, string>> | undefined {
  const form = parent.getChild("x", NS_DATA);
  if (form === undefined || form.attrs.type !== "submit") return undefined;
  const values = new Map<string, string>();
  for (const field of form.getChildren("field").slice(0, FIELDS_MAX)) {
    const name = field.attrs.var;
    const value = field.getChildText("value");
    if (name !== undefined && value !== null && !values.has(name)) values.set(name, value);
  }
  return Object.fromEntries(values);
}
