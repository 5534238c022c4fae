import { expect, test } from "vitest";
import type { Session } from "../api";
import { matchingSessions, rightsTo, stateWords } from "./wording";

const ADMIN = { username: "ada", role: "admin" } as const;
const OPERATOR = { username: "olga", role: "operator" } as const;

test("only an admin is offered to watch and to play, and only what is there", () => {
  expect(rightsTo(session({ recorded: true }), ADMIN)).toEqual({ watch: true, play: true, end: true });
  expect(rightsTo(session({ recorded: true }), OPERATOR)).toEqual({ watch: false, play: false, end: true });
  expect(rightsTo(session({ closed_at: "2026-01-01T00:00:00Z" }), ADMIN)).toEqual({ watch: false, play: false, end: false });
  // Another process serves it, and hands us over.
  expect(rightsTo(session({ attached: null }), ADMIN).watch).toBe(true);
});

test("a session's state says who is there", () => {
  expect(stateWords(session({ shared: true, watchers: 2 }))).toBe("Open, shared, 2 watch");
  expect(stateWords(session({ attached: false }))).toBe("Open, its person is away");
  expect(stateWords(session({ closed_at: "2026-01-01T00:00:00Z", reason: "shell_exited" }))).toBe("Ended: the shell ended");
  expect(stateWords(session({ closed_at: "2026-01-01T00:00:00Z", reason: "moon_phase" }))).toBe("Ended: moon phase");
});

test("the filter finds a device's sessions and a person's", () => {
  const sessions = [session({}), session({ device_id: "pump-2", username: "ben" })];

  expect(matchingSessions(sessions, "PUMP-2")).toEqual([sessions[1]]);
  expect(matchingSessions(sessions, "olga open")).toEqual([sessions[0]]);
});

function session(change: Partial<Session>): Session {
  return {
    id: "1",
    device_id: "pump-1",
    username: "olga",
    client_address: "192.0.2.7",
    opened_at: "2026-01-01T00:00:00Z",
    closed_at: null,
    reason: null,
    output_bytes: 0,
    recorded: false,
    attached: true,
    resumable: true,
    shared: false,
    watchers: 0,
    ...change,
  };
}
