import { button, element } from "./dom";

/** The line that says that the login has ended, and leads to a new one. */
export class LoginEnded {
  readonly element: HTMLElement;

  constructor(onLoginAgain: () => void) {
    this.element = element(
      "div",
      { class: "login-ended", role: "alert", hidden: "" },
      element("p", {}, "Your login has ended. Open terminals go on until the server closes them."),
      button("Log in again", { class: "button primary" }, onLoginAgain),
    );
  }

  show(): void {
    this.element.hidden = false;
  }

  hide(): void {
    this.element.hidden = true;
  }
}
