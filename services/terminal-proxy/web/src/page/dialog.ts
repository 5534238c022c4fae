import { button, element } from "./dom";

export interface Question {
  readonly title: string;
  readonly text?: string;
  /** Shown as it is, in the terminal's font. */
  readonly preview?: string;
  readonly yes: string;
}

/**
 * Asks before something happens. Escape, "Cancel" and a click beside the dialog mean no; so does Enter
 * at once, for hands that always press it after pasting.
 */
export function ask(question: Question): Promise<boolean> {
  return new Promise((resolve) => {
    const dialog = element("dialog", { class: "dialog", "aria-labelledby": "dialog-title" });
    const actions = element(
      "div",
      { class: "dialog-actions" },
      button("Cancel", { class: "button", autofocus: "" }, () => dialog.close()),
      button(question.yes, { class: "button primary" }, () => dialog.close("yes")),
    );
    dialog.append(element("h2", { id: "dialog-title" }, question.title));
    if (question.text !== undefined) {
      dialog.append(element("p", {}, question.text));
    }
    if (question.preview !== undefined) {
      dialog.append(element("pre", { class: "dialog-preview", tabindex: "0" }, question.preview));
    }
    dialog.append(actions);
    show(dialog, () => resolve(dialog.returnValue === "yes"));
  });
}

/** Shows something to read, with one button; it may still change while it is seen. */
export function tell(title: string, ...content: readonly Node[]): Promise<void> {
  return new Promise((resolve) => {
    const dialog = element("dialog", { class: "dialog", "aria-labelledby": "dialog-title" });
    const close = button("Close", { class: "button primary", autofocus: "" }, () => dialog.close());
    dialog.append(element("h2", { id: "dialog-title" }, title), ...content, element("div", { class: "dialog-actions" }, close));
    show(dialog, resolve);
  });
}

function show(dialog: HTMLDialogElement, onClosed: () => void): void {
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) {
      dialog.close();
    }
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    onClosed();
  });
  document.body.append(dialog);
  dialog.showModal();
}
