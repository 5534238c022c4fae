import type { Terminal } from "@xterm/xterm";
import { announce } from "../page/announce";
import { ask, tell } from "../page/dialog";
import { element } from "../page/dom";
import { judgePaste } from "./paste";

export async function copySelection(terminal: Terminal): Promise<void> {
  const text = terminal.getSelection();
  if (text === "") {
    announce("Nothing is selected");
    return;
  }
  try {
    await navigator.clipboard.writeText(text);
    announce("Copied");
  } catch {
    announce("The browser did not allow copying");
  }
}

/** For the button; the keys and the browser's menu arrive as a `paste` event and need no permission. */
export async function pasteFromClipboard(terminal: Terminal): Promise<void> {
  try {
    await pasteGuarded(terminal, await navigator.clipboard.readText());
  } catch {
    await tell("The browser did not allow pasting", element("p", {}, "Press Ctrl+Shift+V in the terminal instead."));
  }
}

/** Pastes what is harmless, asks about what may run a command, refuses what is too much. */
export async function pasteGuarded(terminal: Terminal, clipboard: string): Promise<void> {
  const verdict = judgePaste(clipboard);
  switch (verdict.kind) {
    case "nothing":
      break;
    case "paste":
      terminal.paste(verdict.text);
      break;
    case "ask":
      if (await ask({ title: verdict.question, preview: verdict.preview, yes: "Paste" })) {
        terminal.paste(verdict.text);
      }
      break;
    case "refuse":
      await tell("Not pasted", element("p", {}, verdict.reason));
      break;
  }
  terminal.focus();
}

/** Takes every paste before xterm.js sees it. */
export function guardPastes(parent: HTMLElement, terminal: Terminal): void {
  const options = { capture: true };
  parent.addEventListener(
    "paste",
    (event) => {
      event.preventDefault();
      event.stopPropagation();
      void pasteGuarded(terminal, event.clipboardData?.getData("text/plain") ?? "");
    },
    options,
  );
}
