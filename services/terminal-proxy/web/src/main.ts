import { Api } from "./api";
import { Login, SilentLoginFailed } from "./login/login";
import type { LoginSession } from "./login/session";
import { existing } from "./page/dom";
import { loginDone, loginScreen } from "./page/login-screen";
import { deviceInAddress, Widget } from "./page/widget";
import { Workplace } from "./page/workplace";
import "./style/base.css";
import "./style/fleet.css";
import "./style/login.css";
import "./style/terminal.css";
import "./style/workplace.css";

const page = existing("page");

async function main(): Promise<void> {
  if (Login.isCallback() && Login.handOver()) {
    page.replaceChildren(loginDone());
    return;
  }
  let login: Login;
  try {
    login = await Login.prepare();
  } catch (error) {
    page.replaceChildren(loginScreen(wordsOf(error), undefined));
    return;
  }
  if (Login.isCallback()) {
    try {
      work(login, await login.finish());
    } catch (error) {
      offerLogin(login, error instanceof SilentLoginFailed ? undefined : wordsOf(error));
    }
  } else if (Login.isInFrame() && Login.maySucceedSilently()) {
    await login.startSilently();
  } else if (!Login.isInFrame() && Login.wasLoggedIn()) {
    await login.start();
  } else {
    offerLogin(login, undefined);
  }
}

function offerLogin(login: Login, trouble: string | undefined): void {
  const start = Login.isInFrame() ? () => void logInByWindow(login) : () => void login.start();
  page.replaceChildren(loginScreen(trouble, start));
}

async function logInByWindow(login: Login): Promise<void> {
  try {
    work(login, await login.byWindow());
  } catch (error) {
    offerLogin(login, wordsOf(error));
  }
}

function work(login: Login, session: LoginSession): void {
  const api = new Api(session);
  const loginAgain = (): void => {
    if (Login.isInFrame()) {
      // Whoever closes that window still sees the offer to log in.
      login.byWindow(session).then(() => view.goOn(), () => {});
    } else {
      void login.start();
    }
  };
  const deviceId = deviceInAddress(location.pathname);
  const view = deviceId === undefined ? new Workplace(api, { logout: () => login.logout(session), loginAgain }) : new Widget(deviceId, api, loginAgain);
  session.onEnded = () => view.showLoginEnded();
  page.replaceChildren(view.element);
  view.start();
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : "Something went wrong. Reload the page.";
}

void main();
