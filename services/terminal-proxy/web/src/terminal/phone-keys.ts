import { announce } from "../page/announce";
import { button, element } from "../page/dom";

/** The keys that a phone's keyboard lacks, and what a terminal hears. */
const KEYS: readonly (readonly [label: string, name: string, sequence: string])[] = [
  ["Esc", "Escape", "\x1b"],
  ["Tab", "Tab", "\t"],
  ["←", "Arrow left", "\x1b[D"],
  ["↓", "Arrow down", "\x1b[B"],
  ["↑", "Arrow up", "\x1b[A"],
  ["→", "Arrow right", "\x1b[C"],
  ["|", "Pipe", "|"],
  ["/", "Slash", "/"],
  ["-", "Minus", "-"],
];

/** A row of keys above a phone's keyboard. Ctrl holds for the next key. */
export class PhoneKeys {
  readonly element: HTMLElement;
  private readonly ctrl: HTMLButtonElement;

  constructor(
    private readonly type: (input: string) => void,
    private readonly usesApplicationKeys: () => boolean,
  ) {
    this.ctrl = this.key("Ctrl", "Ctrl, for the next key", () => this.holdCtrl(this.ctrl.getAttribute("aria-pressed") !== "true"));
    this.ctrl.setAttribute("aria-pressed", "false");
    const keys = KEYS.map(([label, name, sequence]) => this.key(label, name, () => this.press(sequence)));
    keys.splice(2, 0, this.ctrl);
    this.element = element("div", { class: "phone-keys", role: "group", "aria-label": "Keys" }, ...keys);
  }

  /** What typed text becomes: with Ctrl held, its first character is the control character. */
  apply(input: string): string {
    if (this.ctrl.getAttribute("aria-pressed") !== "true") {
      return input;
    }
    this.holdCtrl(false);
    return withCtrl(input);
  }

  private press(sequence: string): void {
    this.type(this.usesApplicationKeys() ? sequence.replace(/^\x1b\[([A-D])$/, "\x1bO$1") : sequence);
  }

  private holdCtrl(held: boolean): void {
    this.ctrl.setAttribute("aria-pressed", String(held));
    announce(held ? "Ctrl holds for the next key" : "Ctrl is released");
  }

  private key(label: string, name: string, onPress: () => void): HTMLButtonElement {
    const key = button(label, { class: "button", "aria-label": name }, onPress);
    // The terminal keeps the focus, or the phone would put its keyboard away.
    key.addEventListener("pointerdown", (event) => event.preventDefault());
    return key;
  }
}

/** `c` becomes Ctrl+C, an arrow Ctrl and the arrow; what has no such form stays. */
export function withCtrl(input: string): string {
  const arrow = /^\x1b[[O]([A-D])$/.exec(input);
  if (arrow !== null) {
    return `\x1b[1;5${arrow[1]}`;
  }
  const [first, ...rest] = input;
  const code = first?.toUpperCase().codePointAt(0) ?? 0;
  if (code === 0x20) {
    return `\0${rest.join("")}`;
  }
  const isControl = (code >= 0x40 && code <= 0x5f) || code === 0x3f;
  return isControl ? String.fromCharCode(code === 0x3f ? 0x7f : code & 0x1f) + rest.join("") : input;
}
