import * as oauth from "oauth4webapi";
import type { Config } from "../config";
import type { PendingLogin } from "./pending";

/** What the issuer hands out. Lives in memory only, so that no script of another day finds it. */
export interface Tokens {
  readonly accessToken: string;
  readonly expiresInSeconds: number;
  readonly refreshToken: string | undefined;
  readonly idToken: string | undefined;
}

/** Used when the issuer does not say how long its token lives (`expires_in` is optional, RFC 6749 5.1). */
const ASSUMED_LIFETIME_SECONDS = 60;
const DEADLINE_MS = 15_000;

/** An OpenID Connect issuer, asked as a public client: authorization code with PKCE, S256. */
export class Issuer {
  private constructor(
    private readonly server: oauth.AuthorizationServer,
    private readonly authorizationEndpoint: string,
    private readonly client: oauth.Client,
  ) {}

  static async discover(config: Config): Promise<Issuer> {
    const address = new URL(config.issuer);
    const response = await oauth.discoveryRequest(address, requestOptions(address.protocol));
    const server = await oauth.processDiscoveryResponse(address, response);
    if (server.authorization_endpoint === undefined) {
      throw new Error("The issuer does not say where a person logs in.");
    }
    return new Issuer(server, server.authorization_endpoint, { client_id: config.client_id });
  }

  /** Where to send the browser so that the person logs in. */
  async loginUrl(pending: PendingLogin, redirectUri: string): Promise<URL> {
    const url = new URL(this.authorizationEndpoint);
    url.searchParams.set("response_type", "code");
    url.searchParams.set("client_id", this.client.client_id);
    url.searchParams.set("redirect_uri", redirectUri);
    url.searchParams.set("scope", "openid");
    url.searchParams.set("state", pending.state);
    url.searchParams.set("nonce", pending.nonce);
    url.searchParams.set("code_challenge", await oauth.calculatePKCECodeChallenge(pending.verifier));
    url.searchParams.set("code_challenge_method", "S256");
    if (pending.manner === "silent") {
      url.searchParams.set("prompt", "none");
    }
    return url;
  }

  /** Turns the answer in the callback's query into tokens; state, issuer, nonce and audience are checked. */
  async redeem(callback: URL, pending: PendingLogin, redirectUri: string): Promise<Tokens> {
    const parameters = oauth.validateAuthResponse(this.server, this.client, callback, pending.state);
    const response = await oauth.authorizationCodeGrantRequest(
      this.server,
      this.client,
      oauth.None(),
      parameters,
      redirectUri,
      pending.verifier,
      requestOptions(new URL(this.server.issuer).protocol),
    );
    const answer = await oauth.processAuthorizationCodeResponse(this.server, this.client, response, {
      expectedNonce: pending.nonce,
      requireIdToken: true,
    });
    return tokensOf(answer);
  }

  async refresh(current: Tokens & { readonly refreshToken: string }): Promise<Tokens> {
    const response = await oauth.refreshTokenGrantRequest(
      this.server,
      this.client,
      oauth.None(),
      current.refreshToken,
      requestOptions(new URL(this.server.issuer).protocol),
    );
    const answer = tokensOf(await oauth.processRefreshTokenResponse(this.server, this.client, response));
    return {
      ...answer,
      refreshToken: answer.refreshToken ?? current.refreshToken,
      idToken: answer.idToken ?? current.idToken,
    };
  }

  /** Where to send the browser so that the issuer forgets the login too, if the issuer offers that. */
  logoutUrl(idToken: string | undefined, returnTo: string): URL | undefined {
    if (this.server.end_session_endpoint === undefined) {
      return undefined;
    }
    const url = new URL(this.server.end_session_endpoint);
    url.searchParams.set("client_id", this.client.client_id);
    url.searchParams.set("post_logout_redirect_uri", returnTo);
    if (idToken !== undefined) {
      url.searchParams.set("id_token_hint", idToken);
    }
    return url;
  }
}

/** True when the issuer itself said no: asking again with the same grant is of no use. */
export function isRefusal(error: unknown): boolean {
  return error instanceof oauth.ResponseBodyError || error instanceof oauth.AuthorizationResponseError;
}

/** The errors with which an issuer says that it would have to show something (OpenID Connect Core 3.1.2.6). */
const NEEDS_THE_PERSON: ReadonlySet<string> = new Set([
  "login_required",
  "interaction_required",
  "consent_required",
  "account_selection_required",
]);

export function needsThePerson(error: unknown): boolean {
  return error instanceof oauth.AuthorizationResponseError && NEEDS_THE_PERSON.has(error.error);
}

function tokensOf(answer: oauth.TokenEndpointResponse): Tokens {
  return {
    accessToken: answer.access_token,
    expiresInSeconds: answer.expires_in ?? ASSUMED_LIFETIME_SECONDS,
    refreshToken: answer.refresh_token,
    idToken: answer.id_token,
  };
}

function requestOptions(protocol: string): { signal: () => AbortSignal; [oauth.allowInsecureRequests]: boolean } {
  return {
    signal: () => AbortSignal.timeout(DEADLINE_MS),
    // Plain HTTP is for an issuer on loopback; whoever runs the proxy chose the issuer's address.
    [oauth.allowInsecureRequests]: protocol === "http:",
  };
}
