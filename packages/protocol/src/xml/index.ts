/** How messages stand in XML. */
export { type Field, type Fields, integer, nested, text, wireName } from "./field.ts";
export { defineMessage, type Message } from "./message.ts";
export { refusalMessage, STANZA_ERRORS, type StandardCondition } from "./refusal-element.ts";
export { resourceFields, specFields } from "./spec-fields.ts";
