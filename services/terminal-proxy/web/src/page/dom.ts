type Child = Node | string;
type Attributes = Readonly<Record<string, string>>;

/** Makes an element. Text is only ever set as text, so nothing that a device says becomes markup. */
export function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    made.setAttribute(attribute, value);
  }
  made.append(...children);
  return made;
}

export function button(label: string, attributes: Attributes, onClick: () => void): HTMLButtonElement {
  const made = element("button", { type: "button", ...attributes }, label);
  made.addEventListener("click", onClick);
  return made;
}

/** Touches the document only when the text is new, so that a screen reader is not told twice. */
export function setText(node: HTMLElement, text: string): void {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

export function existing(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (found === null) {
    throw new Error(`index.html has no element #${id}`);
  }
  return found;
}

/** The head of a table; a column without words has them for screen readers only. */
export function headings(columns: readonly (readonly [heading: string, style: string])[]): HTMLTableSectionElement {
  const cells = columns.map(([text, style]) => {
    const words = style === "action" ? element("span", { class: "for-screen-readers" }, text) : text;
    return element("th", { scope: "col", class: style }, words);
  });
  return element("thead", {}, element("tr", {}, ...cells));
}
