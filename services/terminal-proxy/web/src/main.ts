import { Api } from "./api";
import { Login } from "./login/login";
import type { LoginSession } from "./login/session";
import { existing } from "./page/dom";
import { loginScreen } from "./page/login-screen";
import { Workplace } from "./page/workplace";
import "./style/base.css";
import "./style/fleet.css";
import "./style/login.css";
import "./style/terminal.css";
import "./style/workplace.css";

const page = existing("page");

async function main(): Promise<void> {
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
      offerLogin(login, wordsOf(error));
    }
  } else if (Login.wasLoggedIn()) {
    await login.start();
  } else {
    offerLogin(login, undefined);
  }
}

function offerLogin(login: Login, trouble: string | undefined): void {
  page.replaceChildren(loginScreen(trouble, () => void login.start()));
}

function work(login: Login, session: LoginSession): void {
  const workplace = new Workplace(new Api(session), {
    logout: () => login.logout(session),
    loginAgain: () => void login.start(),
  });
  session.onEnded = () => workplace.showLoginEnded();
  page.replaceChildren(workplace.element);
  workplace.start();
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : "Something went wrong. Reload the page.";
}

void main();
