/** What the page itself does with a key; every other key belongs to the device. */
export type PageKey = "copy" | "next-tab" | "previous-tab" | "leave";

type Key = Pick<KeyboardEvent, "code" | "ctrlKey" | "shiftKey" | "altKey" | "metaKey">;

const PAGE_KEYS: ReadonlyMap<string, PageKey> = new Map([
  ["KeyC", "copy"],
  ["ArrowRight", "next-tab"],
  ["ArrowLeft", "previous-tab"],
  ["ArrowUp", "leave"],
]);

/** All of them are Ctrl+Shift: what a shell itself uses stays free. Ctrl+Shift+V is the browser's own paste. */
export function pageKey(key: Key): PageKey | undefined {
  return key.ctrlKey && key.shiftKey && !key.altKey && !key.metaKey ? PAGE_KEYS.get(key.code) : undefined;
}

export const KEY_HELP: readonly (readonly [keys: string, does: string])[] = [
  ["Ctrl+Shift+C", "copy the selection"],
  ["Ctrl+Shift+V", "paste; several lines are shown first"],
  ["Ctrl+Shift+→ or ←", "next or previous tab"],
  ["Ctrl+Shift+↑", "leave the terminal: to its tab, then Tab reaches the buttons"],
  ["Delete, on a tab", "close it"],
];
