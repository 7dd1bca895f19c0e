/** The part of ltx 3 that Muster uses; the package ships no types of its own. */
declare module "ltx" {
  export type Node = Element | string;

  export class Element {
    constructor(name: string, attrs?: Readonly<Record<string, string | number | undefined>> | string);
    name: string;
    parent: Element | null;
    children: Node[];
    attrs: Record<string, string>;
    is(name: string, xmlns?: string): boolean;
    getName(): string;
    getNS(): string | undefined;
    getChild(name: string, xmlns?: string): Element | undefined;
    getChildren(name: string, xmlns?: string): Element[];
    getChildElements(): Element[];
    getText(): string;
    getChildText(name: string, xmlns?: string): string | null;
    c(name: string, attrs?: Readonly<Record<string, string | number | undefined>> | string): Element;
    cnode(child: Element): Element;
    append(...nodes: Node[]): void;
    t(text: string): this;
    remove(child: Element | string, xmlns?: string): this;
    toString(): string;
  }

  /** Parses one whole document; throws on malformed or incomplete XML. */
  export function parse(text: string): Element;
  export function escapeXML(text: string): string;
  export function escapeXMLText(text: string): string;
}
