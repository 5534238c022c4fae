import { loadConfig } from "../config";
import { survivesReload, tabStorage } from "../page/storage";
import { isRefusal, Issuer, needsThePerson } from "./issuer";
import { keepPendingLogin, newPendingLogin, takePendingLogin, type PendingLogin } from "./pending";
import { answerInWindow, openLoginWindow, tellOpener } from "./popup";
import { LoginSession } from "./session";

/** Set while this browser tab has a login, so that a reload goes straight back through the issuer. */
const RETURNING_KEY = "iot-bridge.logged-in";

/** The issuer does not know this browser, or may not say so without showing something. */
export class SilentLoginFailed extends Error {}

/** The way to the issuer and back. */
export class Login {
  private constructor(private readonly issuer: Issuer) {}

  static async prepare(): Promise<Login> {
    if (!window.isSecureContext) {
      throw new Error("This page works over https:// or on this machine (127.0.0.1) only: a login elsewhere could be read on the way.");
    }
    const config = await loadConfig();
    try {
      return new Login(await Issuer.discover(config));
    } catch (cause) {
      throw new Error(`The login server at ${config.issuer} does not answer as it should.`, { cause });
    }
  }

  /** True when the browser was just sent back here by the issuer. */
  static isCallback(): boolean {
    return location.pathname === "/ui/callback";
  }

  /** In the window that a frame opened for the login: hands the answer over. False when this is no such window. */
  static handOver(): boolean {
    return tellOpener(tabStorage());
  }

  static wasLoggedIn(): boolean {
    return tabStorage().getItem(RETURNING_KEY) !== null;
  }

  /** An issuer's login form does not let itself be shown in another site's frame. */
  static isInFrame(): boolean {
    return window.top !== window.self;
  }

  /** Leaves the page for the issuer's login form. */
  async start(): Promise<void> {
    await this.leave("ask");
  }

  /** Where nothing survives a reload, the browser would not show the issuer its cookie in a frame either. */
  static maySucceedSilently(): boolean {
    return survivesReload();
  }

  /** Leaves the page for the issuer, which sends back at once whoever it knows, and shows nothing. */
  async startSilently(): Promise<void> {
    await this.leave("silent");
  }

  /** Ends what `start` began, and takes the code out of the address bar and the history. */
  async finish(): Promise<LoginSession> {
    const callback = new URL(location.href);
    const pending = takePendingLogin(tabStorage(), callback);
    history.replaceState(null, "", pending?.place ?? "/");
    if (pending === undefined) {
      throw new Error("This login was not started here, or was already used. Log in again.");
    }
    return new LoginSession(this.issuer, await this.redeem(callback, pending));
  }

  /** Logs in by a window of its own; to be called while a click is handled, or the browser keeps it shut. */
  async byWindow(renewed?: LoginSession): Promise<LoginSession> {
    const opened = openLoginWindow();
    const pending = newPendingLogin("", "ask");
    opened.location.href = (await this.issuer.loginUrl(pending, redirectUri())).href;
    const tokens = await this.redeem(await answerInWindow(opened), pending);
    renewed?.restore(tokens);
    return renewed ?? new LoginSession(this.issuer, tokens);
  }

  /** Forgets the login here and, where the issuer offers it, at the issuer. */
  logout(session: LoginSession): void {
    tabStorage().removeItem(RETURNING_KEY);
    const home = `${location.origin}/`;
    location.assign(this.issuer.logoutUrl(session.idToken, home) ?? home);
  }

  private async leave(manner: PendingLogin["manner"]): Promise<void> {
    tabStorage().removeItem(RETURNING_KEY);
    const pending = newPendingLogin(location.pathname + location.hash, manner);
    keepPendingLogin(tabStorage(), pending);
    location.assign(await this.issuer.loginUrl(pending, redirectUri()));
  }

  private async redeem(callback: URL, pending: PendingLogin) {
    try {
      const tokens = await this.issuer.redeem(callback, pending, redirectUri());
      tabStorage().setItem(RETURNING_KEY, "yes");
      return tokens;
    } catch (cause) {
      if (pending.manner === "silent" && needsThePerson(cause)) {
        throw new SilentLoginFailed("Log in to go on.", { cause });
      }
      throw new Error(refusalWords(cause), { cause });
    }
  }
}

function redirectUri(): string {
  return `${location.origin}/ui/callback`;
}

function refusalWords(cause: unknown): string {
  return isRefusal(cause)
    ? "The login server refused the login. Try again, or ask whoever manages the accounts."
    : "The login could not be completed. Try again.";
}
