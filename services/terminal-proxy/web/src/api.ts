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
}

export interface User {
  readonly username: string;
  readonly role: "viewer" | "operator" | "admin";
}

export interface Fleet {
  readonly devices: readonly Device[];
  readonly user: User;
}

/** The proxy's HTTP interface. Each call carries a fresh token and has a deadline. */
export class Api {
  constructor(private readonly session: LoginSession) {}

  async fleet(): Promise<Fleet> {
    const response = await this.request("/ui/api/devices", { method: "GET" });
    return (await response.json()) as Fleet;
  }

  /** A one-time ticket that opens this device's terminal within the next 30 s. */
  async ticket(deviceId: string): Promise<string> {
    const response = await this.request("/terminal/tickets", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ device_id: deviceId }),
    });
    return ((await response.json()) as { ticket: string }).ticket;
  }

  private async request(path: string, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers);
    headers.set("authorization", `Bearer ${await this.session.accessToken()}`);
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
