import type { Session, User } from "../api";
import { ageWords } from "../fleet/wording";

/** Why sessions end, as the record has it. Any other word is shown as it is. */
const REASONS: ReadonlyMap<string, string> = new Map([
  ["shell_exited", "the shell ended"],
  ["browser_left", "its page was left"],
  ["token_expired", "the login ended"],
  ["killed", "somebody ended it"],
  ["access_lost", "the right was lost"],
  ["device_retired", "the device was decommissioned"],
  ["device_quarantined", "the device was put in quarantine"],
  ["idle", "nothing happened in it"],
]);

export interface Rights {
  readonly watch: boolean;
  readonly play: boolean;
  readonly end: boolean;
}

/** What is offered; the server decides again. */
export function rightsTo(session: Session, user: User): Rights {
  const isOpen = session.closed_at === null;
  return {
    watch: isOpen && user.role === "admin",
    play: session.recorded && user.role === "admin",
    end: isOpen,
  };
}

export function stateWords(session: Session): string {
  if (session.closed_at !== null) {
    const reason = session.reason ?? "";
    return reason === "" ? "Ended" : `Ended: ${REASONS.get(reason) ?? reason.replaceAll("_", " ")}`;
  }
  const parts = [session.attached === false ? "Open, its person is away" : "Open"];
  if (session.shared === true) {
    parts.push("shared");
  }
  if ((session.watchers ?? 0) > 0) {
    parts.push(session.watchers === 1 ? "1 watches" : `${session.watchers} watch`);
  }
  return parts.join(", ");
}

export function beganWords(session: Session, now: number): string {
  return ageWords(Math.max(0, (now - Date.parse(session.opened_at)) / 1000));
}

/** Sessions in which every word of the filter is found. */
export function matchingSessions(sessions: readonly Session[], filter: string): Session[] {
  const words = filter.toLowerCase().split(/\s+/).filter((word) => word !== "");
  return sessions.filter((session) => {
    const text = [session.device_id, session.username, session.client_address, stateWords(session)].join("\n").toLowerCase();
    return words.every((word) => text.includes(word));
  });
}
