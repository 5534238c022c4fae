import * as oauth from "oauth4webapi";

/** What has to survive the way to the issuer and back. Worth nothing without the code that comes back. */
export interface PendingLogin {
  readonly state: string;
  readonly nonce: string;
  /** PKCE code verifier (RFC 7636). */
  readonly verifier: string;
  /** The page's place (`location.hash`) to come back to. */
  readonly place: string;
}

const KEY = "iot-bridge.pending-login";

export function newPendingLogin(place: string): PendingLogin {
  return {
    state: oauth.generateRandomState(),
    nonce: oauth.generateRandomNonce(),
    verifier: oauth.generateRandomCodeVerifier(),
    place,
  };
}

export function keepPendingLogin(storage: Storage, pending: PendingLogin): void {
  storage.setItem(KEY, JSON.stringify(pending));
}

/** Hands the pending login out once: a callback that is loaded again finds nothing. */
export function takePendingLogin(storage: Storage): PendingLogin | undefined {
  const kept = storage.getItem(KEY);
  storage.removeItem(KEY);
  return kept === null ? undefined : (JSON.parse(kept) as PendingLogin);
}
