import type { Terminal } from "@xterm/xterm";
import { copySelection } from "./clipboard";
import { pageKey, type PageKey } from "./keys";

export interface PageKeyActions {
  press(key: Exclude<PageKey, "copy">): void;
  /** Whether there is a shell that Tab belongs to; without one it leads on to what comes after the terminal. */
  takesTab(): boolean;
}

/** Takes the page's own keys before the terminal does, which would hold on to every key otherwise. */
export function attachPageKeys(terminal: Terminal, actions: PageKeyActions): void {
  // False keeps a key from the device; xterm.js leaves it to the browser then.
  terminal.attachCustomKeyEventHandler((event) => {
    const key = pageKey(event);
    if (key === undefined) {
      return event.code !== "Tab" || actions.takesTab();
    }
    event.preventDefault();
    if (event.type === "keydown") {
      if (key === "copy") {
        void copySelection(terminal);
      } else {
        actions.press(key);
      }
    }
    return false;
  });
}
