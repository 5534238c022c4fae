import { noAnswer, Problem } from "../problem";
import { isRefusal, type Issuer, type Tokens } from "./issuer";

/** Renew this long before the end, so that a request on its way does not meet an expired token. */
const RENEW_BEFORE_SECONDS = 30;

type Clock = () => number;
type TokenSource = Pick<Issuer, "refresh">;

/** The login that the person has now. Gives out tokens that are valid, or says that the login ended. */
export class LoginSession {
  private obtainedAt: number;
  private validUntil: number;
  private renewal: Promise<void> | undefined;
  private ended = false;

  /** Called when only a new login helps. */
  onEnded: () => void = () => {};

  constructor(
    private readonly issuer: TokenSource,
    private tokens: Tokens,
    /** Milliseconds; moved by tests. */
    private readonly now: Clock = Date.now,
  ) {
    this.obtainedAt = now();
    this.validUntil = this.obtainedAt + tokens.expiresInSeconds * 1000;
  }

  get idToken(): string | undefined {
    return this.tokens.idToken;
  }

  /** Gives out a valid token; a newer one when it is older than asked for and can be renewed. */
  async accessToken(maxAgeSeconds = Infinity): Promise<string> {
    if (this.ended) {
      throw loginEnded();
    }
    if (this.now() >= this.validUntil - this.renewalMargin() || this.now() - this.obtainedAt > maxAgeSeconds * 1000) {
      this.renewal ??= this.renew().finally(() => {
        this.renewal = undefined;
      });
      await this.renewal;
    }
    return this.tokens.accessToken;
  }

  /** The proxy did not accept the token: renew it, unless it was new. A new one that is refused will stay refused. */
  rejectToken(): void {
    if (this.now() - this.obtainedAt < RENEW_BEFORE_SECONDS * 1000) {
      this.end();
    } else {
      this.validUntil = 0;
    }
  }

  /** The person has logged in again, beside this page: what waits for a token goes on. */
  restore(tokens: Tokens): void {
    this.ended = false;
    this.take(tokens);
  }

  private take(tokens: Tokens): void {
    this.tokens = tokens;
    this.obtainedAt = this.now();
    this.validUntil = this.obtainedAt + tokens.expiresInSeconds * 1000;
  }

  private async renew(): Promise<void> {
    const { refreshToken } = this.tokens;
    if (refreshToken === undefined) {
      if (this.now() < this.validUntil) {
        return;
      }
      this.end();
      throw loginEnded();
    }
    try {
      this.take(await this.issuer.refresh({ ...this.tokens, refreshToken }));
    } catch (error) {
      if (isRefusal(error)) {
        this.end();
        throw loginEnded();
      }
      if (this.now() >= this.validUntil) {
        throw noAnswer();
      }
    }
  }

  /** A token that lives only a minute must not be renewed at every request. */
  private renewalMargin(): number {
    return Math.min(RENEW_BEFORE_SECONDS, this.tokens.expiresInSeconds / 4) * 1000;
  }

  private end(): void {
    if (!this.ended) {
      this.ended = true;
      this.onEnded();
    }
  }
}

function loginEnded(): Problem {
  return new Problem(401, "login-ended", "Your login has ended", "Log in again to go on.");
}
