import { announce } from "../page/announce";
import { button, element, setText } from "../page/dom";
import type { Ending } from "./ending";

/** The line below a terminal that has ended: why, what to do, and the button that does it. */
export class Notice {
  readonly element: HTMLElement;
  private readonly title = element("strong");
  private readonly advice = element("span");
  private readonly reconnect: HTMLButtonElement;
  private readonly why: HTMLButtonElement | undefined;

  constructor(onReconnect: () => void, onWhy?: () => void) {
    this.reconnect = button("Reconnect", { class: "button primary" }, onReconnect);
    this.why = onWhy && button("Find out why", { class: "button" }, onWhy);
    const actions = element("div", { class: "notice-actions" }, ...(this.why === undefined ? [] : [this.why]), this.reconnect);
    this.element = element("div", { class: "notice", hidden: "" }, element("p", {}, this.title, " ", this.advice), actions);
  }

  show(ending: Ending, more = ""): void {
    const advice = `${ending.advice} ${more}`.trim();
    setText(this.title, `${ending.title}.`);
    setText(this.advice, advice);
    this.element.dataset["tone"] = ending.tone;
    if (this.why !== undefined) {
      this.why.hidden = ending.tone === "calm";
    }
    this.element.hidden = false;
    announce(`${ending.title}. ${advice}`);
  }

  hide(): void {
    this.element.hidden = true;
  }

  focus(): void {
    this.reconnect.focus();
  }
}
