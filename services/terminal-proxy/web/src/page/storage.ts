/** What the page needs of a browser's storage. */
export type Keeping = Pick<Storage, "getItem" | "setItem" | "removeItem" | "key" | "length">;

/** Kept as long as the page is there: where a browser keeps nothing for a frame of another site. */
class Memory implements Keeping {
  private readonly entries = new Map<string, string>();

  get length(): number {
    return this.entries.size;
  }

  key(index: number): string | null {
    return [...this.entries.keys()][index] ?? null;
  }

  getItem(key: string): string | null {
    return this.entries.get(key) ?? null;
  }

  setItem(key: string, value: string): void {
    this.entries.set(key, value);
  }

  removeItem(key: string): void {
    this.entries.delete(key);
  }
}

const memory = new Memory();

/** What this tab remembers over a reload. */
export function tabStorage(): Keeping {
  return storageOr(() => sessionStorage);
}

/** What this browser remembers. */
export function browserStorage(): Keeping {
  return storageOr(() => localStorage);
}

/** Whether anything survives a reload: without, an answer of the issuer would find nobody who waits for it. */
export function survivesReload(): boolean {
  return tabStorage() !== memory;
}

/** A browser that blocks storage throws when it is looked at. */
function storageOr(look: () => Storage): Keeping {
  try {
    return look();
  } catch {
    return memory;
  }
}
