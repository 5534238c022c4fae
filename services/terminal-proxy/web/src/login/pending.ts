import * as oauth from "oauth4webapi";
import type { Keeping } from "../page/storage";

/** What has to survive the way to the issuer and back. Worth nothing without the code that comes back. */
export interface PendingLogin {
  readonly state: string;
  readonly nonce: string;
  /** PKCE code verifier (RFC 7636). */
  readonly verifier: string;
  /** The page's place (path and `location.hash`) to come back to. */
  readonly place: string;
  /** Whether the issuer may show its form; `silent` is for frames, in which it cannot. */
  readonly manner: "ask" | "silent";
}

/** One for each: several frames of one page may be on their way at once. */
const PREFIX = "iot-bridge.pending-login.";

export function newPendingLogin(place: string, manner: PendingLogin["manner"]): PendingLogin {
  return {
    state: oauth.generateRandomState(),
    nonce: oauth.generateRandomNonce(),
    verifier: oauth.generateRandomCodeVerifier(),
    place,
    manner,
  };
}

export function keepPendingLogin(storage: Keeping, pending: PendingLogin): void {
  storage.setItem(PREFIX + pending.state, JSON.stringify(pending));
}

export function hasPendingLogin(storage: Keeping, callback: URL): boolean {
  return storage.getItem(keyOf(callback)) !== null;
}

/** Hands the pending login out once: a callback that is loaded again finds nothing. */
export function takePendingLogin(storage: Keeping, callback: URL): PendingLogin | undefined {
  const kept = storage.getItem(keyOf(callback));
  storage.removeItem(keyOf(callback));
  return kept === null ? undefined : (JSON.parse(kept) as PendingLogin);
}

function keyOf(callback: URL): string {
  return PREFIX + (callback.searchParams.get("state") ?? "");
}
