interface Row<Item> {
  readonly element: HTMLTableRowElement;
  update(item: Item): void;
}

/** The rows of a table, one for each item, changed as little as can be: whoever is in a row stays in it. */
export class Rows<Item extends { readonly id: string }> {
  readonly element = document.createElement("tbody");
  private readonly rows = new Map<string, Row<Item>>();

  constructor(private readonly make: (item: Item) => Row<Item>) {}

  show(items: readonly Item[]): void {
    const wanted = new Set(items.map((item) => item.id));
    for (const [id, row] of this.rows) {
      if (!wanted.has(id)) {
        row.element.remove();
        this.rows.delete(id);
      }
    }
    items.forEach((item, index) => {
      const { element } = this.rowFor(item);
      // Moving a row that stands right already would take the focus out of it.
      if (this.element.children[index] !== element) {
        this.element.insertBefore(element, this.element.children[index] ?? null);
      }
    });
  }

  private rowFor(item: Item): Row<Item> {
    const known = this.rows.get(item.id);
    if (known !== undefined) {
      known.update(item);
      return known;
    }
    const row = this.make(item);
    this.rows.set(item.id, row);
    return row;
  }
}
