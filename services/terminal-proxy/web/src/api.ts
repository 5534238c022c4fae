import type { LoginSession } from "./login/session";
import { noAnswer, Problem, problemOf } from "./problem";

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
  /** The list is longer than one answer. */
  readonly next: string | null;
  readonly user: User;
}

/** A session on record; the last four are null when it has ended or another process serves it. */
export interface Session {
  readonly id: string;
  readonly device_id: string;
  readonly username: string;
  readonly client_address: string;
  readonly opened_at: string;
  readonly closed_at: string | null;
  readonly reason: string | null;
  readonly output_bytes: number;
  readonly recorded: boolean;
  readonly attached: boolean | null;
  readonly resumable: boolean | null;
  readonly shared: boolean | null;
  readonly watchers: number | null;
}

/** One link of the chain from the person to the shell. */
export interface Link {
  readonly check: string;
  /** Null when it could not be looked at. */
  readonly ok: boolean | null;
  readonly detail: string;
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

/** The server tries to reach a device before it answers. */
const DEADLINE_MS = 15_000;

/** A recording that is longer does not fit into a browser's memory. */
const MAX_RECORDING_BYTES = 256 * 1024 * 1024;
const RECORDING_DEADLINE_MS = 120_000;

interface Call extends RequestInit {
  readonly maxTokenAgeSeconds?: number;
  readonly deadlineMs?: number;
}

/** The proxy's HTTP interface. Each call carries a fresh token and has a deadline. */
export class Api {
  constructor(private readonly session: LoginSession) {}

  /** The first thousand devices; with a text those whose id or name contains it. */
  async fleet(text = ""): Promise<Fleet> {
    const response = await this.request(text === "" ? "/ui/api/devices" : `/ui/api/devices?text=${encodeURIComponent(text)}`);
    return (await response.json()) as Fleet;
  }

  /** A one-time ticket that opens this device's terminal within the next 30 s. */
  ticket(deviceId: string): Promise<Ticket> {
    return this.ticketFrom("/terminal/tickets", jsonBody("POST", { device_id: deviceId }));
  }

  /** A one-time ticket to see a session, or to type along in it as well. */
  ticketToWatch(sessionId: string, mayType: boolean): Promise<Ticket> {
    return this.ticketFrom(`${sessionPath(sessionId)}/${mayType ? "join" : "watch"}`, { method: "POST" });
  }

  /** Shows the proxy a fresh token; returns for how many seconds the session may go on. */
  async renewSession(sessionId: string): Promise<number> {
    const call = { method: "POST", maxTokenAgeSeconds: SESSION_TOKEN_MAX_AGE_SECONDS };
    const response = await this.request(`${sessionPath(sessionId)}/token`, call);
    return ((await response.json()) as { expires_in: number }).expires_in;
  }

  /** One's own sessions, everybody's for an admin; newest first. */
  async sessions(alsoEnded: boolean): Promise<readonly Session[]> {
    const response = await this.request(`/sessions?all=${alsoEnded}`);
    return ((await response.json()) as { sessions: Session[] }).sessions;
  }

  async findSession(sessionId: string): Promise<Session> {
    return (await (await this.request(sessionPath(sessionId))).json()) as Session;
  }

  async endSession(sessionId: string): Promise<void> {
    await this.request(sessionPath(sessionId), { method: "DELETE" });
  }

  /** Lets other operators of the device type along in one's own session, or not any more. */
  async shareSession(sessionId: string, shared: boolean): Promise<void> {
    await this.request(sessionPath(sessionId), jsonBody("PATCH", { shared }));
  }

  /** What a session showed, asciicast v2. */
  async recording(sessionId: string): Promise<string> {
    const response = await this.request(`${sessionPath(sessionId)}/recording`, { deadlineMs: RECORDING_DEADLINE_MS });
    return textWithin(response, MAX_RECORDING_BYTES);
  }

  /** The chain from this person to a shell on the device. */
  async examine(deviceId: string): Promise<readonly Link[]> {
    const response = await this.request(`/doctor/${encodeURIComponent(deviceId)}`);
    return ((await response.json()) as { chain: Link[] }).chain;
  }

  private async ticketFrom(path: string, call: Call): Promise<Ticket> {
    const response = await this.request(path, call);
    const answer = (await response.json()) as { ticket: string; session_id: string; session_expires_in: number };
    return { secret: answer.ticket, sessionId: answer.session_id, sessionSeconds: answer.session_expires_in };
  }

  private async request(path: string, { maxTokenAgeSeconds, deadlineMs, ...init }: Call = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    headers.set("authorization", `Bearer ${await this.session.accessToken(maxTokenAgeSeconds)}`);
    const signal = AbortSignal.timeout(deadlineMs ?? DEADLINE_MS);
    let response: Response;
    try {
      response = await fetch(path, { ...init, headers, cache: "no-store", signal });
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

function sessionPath(sessionId: string): string {
  return `/sessions/${encodeURIComponent(sessionId)}`;
}

function jsonBody(method: string, body: unknown): Call {
  return { method, headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
}

/** Reads a body, and gives up where it is longer than the page can hold. */
async function textWithin(response: Response, maxBytes: number): Promise<string> {
  const decoder = new TextDecoder();
  const parts: string[] = [];
  let bytes = 0;
  try {
    for (const reader = response.body?.getReader(); reader !== undefined; ) {
      const { done, value } = await reader.read();
      if (done) {
        break;
      }
      bytes += value.length;
      if (bytes > maxBytes) {
        await reader.cancel();
        throw new Problem(0, "recording-too-long", "The recording is too long to be shown here", "Fetch it with a program instead.");
      }
      parts.push(decoder.decode(value, { stream: true }));
    }
  } catch (error) {
    throw error instanceof Problem ? error : noAnswer();
  }
  parts.push(decoder.decode());
  return parts.join("");
}
