import type { LoginSession } from "./login/session";
import { noAnswer, problemOf } from "./problem";

export type DeviceState = "admitted" | "enrolled" | "quarantined" | "retired";

/** A device as the person who is logged in may see it. */
export interface Device {
  readonly id: string;
  readonly display_name: string | null;
  readonly device_type: string | null;
  readonly group: string;
  readonly state: DeviceState;
  readonly address: string | null;
  readonly online: boolean;
  readonly handshake_age_seconds: number | null;
  readonly may_open: boolean;
  /** How far its last update is; null when it never had one. */
  readonly update: "waiting" | "running" | "finished" | "failed" | "canceled" | null;
}

export interface User {
  readonly username: string;
  readonly role: "viewer" | "operator" | "admin";
}

export interface Fleet {
  readonly devices: readonly Device[];
  readonly user: User;
}

/** What opens a terminal, and what is needed to keep its session alive. */
export interface Ticket {
  readonly secret: string;
  readonly sessionId: string;
  /** The session ends then, unless `renewSession` was called before. */
  readonly sessionSeconds: number;
}

/** A token for a session may be this old: a role that was taken away ends the session within a minute. */
const SESSION_TOKEN_MAX_AGE_SECONDS = 30;

/** The proxy's HTTP interface. Each call carries a fresh token and has a deadline. */
export class Api {
  constructor(private readonly session: LoginSession) {}

  async fleet(): Promise<Fleet> {
    const response = await this.request("/ui/api/devices", { method: "GET" });
    return (await response.json()) as Fleet;
  }

  /** A one-time ticket that opens this device's terminal within the next 30 s. */
  async ticket(deviceId: string): Promise<Ticket> {
    const response = await this.request("/terminal/tickets", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ device_id: deviceId }),
    });
    const answer = (await response.json()) as { ticket: string; session_id: string; session_expires_in: number };
    return { secret: answer.ticket, sessionId: answer.session_id, sessionSeconds: answer.session_expires_in };
  }

  /** Shows the proxy a fresh token; returns for how many seconds the session may go on. */
  async renewSession(sessionId: string): Promise<number> {
    const path = `/sessions/${encodeURIComponent(sessionId)}/token`;
    const response = await this.request(path, { method: "POST" }, SESSION_TOKEN_MAX_AGE_SECONDS);
    return ((await response.json()) as { expires_in: number }).expires_in;
  }

  private async request(path: string, init: RequestInit, maxTokenAgeSeconds?: number): Promise<Response> {
    const headers = new Headers(init.headers);
    headers.set("authorization", `Bearer ${await this.session.accessToken(maxTokenAgeSeconds)}`);
    let response: Response;
    try {
      response = await fetch(path, { ...init, headers, cache: "no-store", signal: AbortSignal.timeout(15_000) });
    } catch {
      throw noAnswer();
    }
    if (response.status === 401) {
      this.session.rejectToken();
    }
    if (!response.ok) {
      throw await problemOf(response);
    }
    return response;
  }
}
