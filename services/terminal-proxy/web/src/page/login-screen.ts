import { button, element } from "./dom";

/** What a login window says if the browser does not close it. */
export function loginDone(): HTMLElement {
  const card = element("main", { class: "login-card" }, element("h1", {}, "You are logged in"), element("p", { class: "muted" }, "You can close this window."));
  return element("div", { class: "login" }, card);
}

/** What a person sees who is not logged in: what this is, one button, and what went wrong, if something did. */
export function loginScreen(trouble: string | undefined, onLogin: (() => void) | undefined): HTMLElement {
  const card = element(
    "main",
    { class: "login-card" },
    element("span", { class: "mark", "aria-hidden": "true" }),
    element("h1", {}, "iot-bridge"),
    element("p", { class: "muted" }, "Terminals for the devices of your fleet."),
  );
  if (trouble !== undefined) {
    card.append(element("p", { class: "trouble", role: "alert" }, trouble));
  }
  card.append(
    onLogin === undefined
      ? button("Try again", { class: "button primary large" }, () => location.reload())
      : button("Log in", { class: "button primary large", autofocus: "" }, onLogin),
  );
  return element("div", { class: "login" }, card);
}
