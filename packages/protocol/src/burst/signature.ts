/**
 * `<signature/>`: a detached JWS (RFC 7515 appendix F) over the canonical text of its sibling, by the site key pinned at
 * peering (B5). It rides inside the burst element it signs, as its last child. Namespace urn:muster:signature:1, version 1.
 */
import type { Element } from "ltx";
import { NS_SIGNATURE } from "../namespaces.ts";
import { elementOf } from "../xml/field.ts";

const JWS_LENGTH_MAX = 1_024;

/** Puts the signature into the element it signs. */
export function attachSignature(element: Element, jws: string): Element {
  element.cnode(elementOf("signature", NS_SIGNATURE).t(jws));
  return element;
}

/** Takes the signature out; the element is then what was signed. `undefined` when there is none or it is too long. */
export function detachSignature(element: Element): string | undefined {
  const child = element.getChild("signature", NS_SIGNATURE);
  if (child === undefined) return undefined;
  element.remove(child);
  const jws = child.getText().trim();
  return jws.length > 0 && jws.length <= JWS_LENGTH_MAX ? jws : undefined;
}
