import { button, element, setText } from "../page/dom";
import { tell } from "../page/dialog";
import type { Preferences } from "../page/preferences";
import { KEY_HELP } from "./keys";

export interface ToolbarActions {
  smaller(): void;
  larger(): void;
  copy(): void;
  paste(): void;
  toggleScreenReader(): void;
  togglePhoneKeys(): void;
}

export type ConnectionState = "connecting" | "connected" | "ended";

const STATE_WORDS: Readonly<Record<ConnectionState, string>> = {
  connecting: "Connecting…",
  connected: "Connected",
  ended: "Not connected",
};

/** The line above a terminal: whose it is, how it stands, and the few things one can do. */
export class Toolbar {
  readonly element: HTMLElement;
  private readonly state = element("span", { class: "connection-state" });
  private readonly title = element("span", { class: "shell-title" });
  private readonly screenReader: HTMLButtonElement;
  private readonly phoneKeys: HTMLButtonElement;

  constructor(deviceId: string, actions: ToolbarActions, ...more: readonly HTMLElement[]) {
    this.phoneKeys = button("Esc…", { class: "button quiet", "aria-label": "Keys that this keyboard lacks", title: "Esc, Tab, Ctrl, arrows", "aria-pressed": "false" }, actions.togglePhoneKeys);
    this.screenReader = button("Screen reader", { class: "button quiet", "aria-pressed": "false" }, actions.toggleScreenReader);
    this.element = element(
      "div",
      { class: "toolbar", role: "toolbar", "aria-label": `Terminal of ${deviceId}` },
      element("h2", {}, deviceId),
      this.state,
      this.title,
      button("A−", { class: "button quiet", "aria-label": "Smaller text", title: "Smaller text" }, actions.smaller),
      button("A+", { class: "button quiet", "aria-label": "Larger text", title: "Larger text" }, actions.larger),
      button("Copy", { class: "button quiet", title: "Copy the selection (Ctrl+Shift+C)" }, actions.copy),
      button("Paste", { class: "button quiet", title: "Paste (Ctrl+Shift+V)" }, actions.paste),
      ...more,
      this.phoneKeys,
      this.screenReader,
      button("Keys", { class: "button quiet", title: "Keyboard shortcuts" }, () => void showKeys()),
    );
  }

  showState(state: ConnectionState): void {
    setText(this.state, STATE_WORDS[state]);
    this.state.dataset["state"] = state;
  }

  focus(): void {
    this.element.querySelector<HTMLElement>("button:not([hidden])")?.focus();
  }

  showTitle(title: string): void {
    setText(this.title, title);
  }

  showPreferences(preferences: Preferences): void {
    this.screenReader.setAttribute("aria-pressed", String(preferences.screenReader));
    this.phoneKeys.setAttribute("aria-pressed", String(preferences.phoneKeys));
  }
}

function showKeys(): Promise<void> {
  const list = element("dl", { class: "keys" });
  for (const [keys, does] of KEY_HELP) {
    list.append(element("dt", {}, element("kbd", {}, keys)), element("dd", {}, does));
  }
  return tell("Keyboard shortcuts", list);
}
