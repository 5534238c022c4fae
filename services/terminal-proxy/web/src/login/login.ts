import { loadConfig } from "../config";
import { isRefusal, Issuer } from "./issuer";
import { keepPendingLogin, newPendingLogin, takePendingLogin } from "./pending";
import { LoginSession } from "./session";

/** Set while this browser tab has a login, so that a reload goes straight back through the issuer. */
const RETURNING_KEY = "iot-bridge.logged-in";

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

  static wasLoggedIn(): boolean {
    return sessionStorage.getItem(RETURNING_KEY) !== null;
  }

  /** Leaves the page for the issuer's login form. */
  async start(): Promise<void> {
    sessionStorage.removeItem(RETURNING_KEY);
    const pending = newPendingLogin(location.hash);
    keepPendingLogin(sessionStorage, pending);
    location.assign(await this.issuer.loginUrl(pending, redirectUri()));
  }

  /** Ends what `start` began, and takes the code out of the address bar and the history. */
  async finish(): Promise<LoginSession> {
    const callback = new URL(location.href);
    const pending = takePendingLogin(sessionStorage);
    history.replaceState(null, "", `/${pending?.place ?? ""}`);
    if (pending === undefined) {
      throw new Error("This login was not started here, or was already used. Log in again.");
    }
    try {
      const tokens = await this.issuer.redeem(callback, pending, redirectUri());
      sessionStorage.setItem(RETURNING_KEY, "yes");
      return new LoginSession(this.issuer, tokens);
    } catch (cause) {
      throw new Error(refusalWords(cause), { cause });
    }
  }

  /** Forgets the login here and, where the issuer offers it, at the issuer. */
  logout(session: LoginSession): void {
    sessionStorage.removeItem(RETURNING_KEY);
    const home = `${location.origin}/`;
    location.assign(this.issuer.logoutUrl(session.idToken, home) ?? home);
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
