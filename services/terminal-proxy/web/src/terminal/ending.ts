import type { Problem } from "../problem";

/** Why a terminal is not connected any more, in words for the person in front of it. */
export interface Ending {
  readonly title: string;
  readonly advice: string;
  /** `calm` for an end that was wanted, `warning` for everything else. */
  readonly tone: "calm" | "warning";
  /** The server asked to come back by itself, as far as it is concerned. */
  readonly comesBack: boolean;
  /** The shell is still there for who comes back. */
  readonly goesOn?: true;
}

/** The close codes of terminal-proxy; every other code means that the connection was lost on the way. */
const BY_CODE: ReadonlyMap<number, Ending> = new Map([
  [1000, calm("The shell ended", "Reconnect to open a new one.")],
  [1001, calm("The terminal was closed", "Reconnect to open a new shell.")],
  [1008, warning("The server ended the session", "This page sent more than the server accepts. Reconnect to open a new shell.")],
  [1009, warning("A message was too large", "The server ended the session. Send large files another way, not by pasting them.")],
  [1011, warning("The device ended the session", "Its terminal service did not answer as it should. Reconnect to try again.")],
  [1012, comingBack("The server restarts", "The page reconnects by itself. The shell will be a new one.")],
  [4401, warning("Your login ended", "The session could not go on without it. Reconnect; you may be asked to log in again.")],
  [4403, warning("The session was ended", "An administrator ended it, or you may no longer open this device.")],
  [4404, warning("The device was decommissioned", "It has left the fleet and cannot be opened any more.")],
  [4409, { ...calm("You went on elsewhere", "This shell is open in another tab or on another machine. Reconnect to bring it back here."), goesOn: true }],
  [4408, warning("The session was idle for too long", "It ended because nothing was typed or shown for a while. Reconnect to open a new shell.")],
]);

/** Where one code has several causes, the proxy's close reason tells them apart. */
const BY_REASON: ReadonlyMap<string, Ending> = new Map([
  ["device-lost", warning("The device is gone", "The connection between the server and the device broke. Check its power and network, then reconnect.")],
  ["directory-unavailable", comingBack("The server cannot check who may go on", "The page reconnects by itself. The shell will be a new one.")],
  ["killed", warning("The session was ended", "An administrator ended it.")],
  ["access-lost", warning("You may no longer open this device", "Ask an administrator if you should have access.")],
  ["stalled", warning("The connection was too slow", "This page did not take what the device sent. Reconnect to open a new shell.")],
  ["session-too-long", warning("The session reached its longest time", "Reconnect to open a new shell.")],
]);

/** The shell goes on without this page for a while. */
export function endingOfResumable(closeCode: number, reason = ""): Ending {
  if (reason === "stalled" || (!BY_REASON.has(reason) && !BY_CODE.has(closeCode))) {
    return comingBack("The connection was lost", "Your shell goes on. The page reconnects by itself.");
  }
  return endingOf(closeCode, reason);
}

export function endingOf(closeCode: number, reason = ""): Ending {
  return (
    BY_REASON.get(reason) ??
    BY_CODE.get(closeCode) ??
    warning("The connection was lost", "The network broke between you and the server. Reconnect to open a new shell.")
  );
}

/** The server let nobody in: its own words, and what to do. */
export function endingOfRefusal(problem: Problem): Ending {
  const wait = problem.retryAfterSeconds === undefined ? "" : ` Try again in ${problem.retryAfterSeconds} s.`;
  return warning(problem.title, `${problem.detail}${wait} ${adviceFor(problem)}`.trim());
}

/** The socket closed before it was open, and the server gave no reason. */
export function endingWithoutAnswer(): Ending {
  return warning("The terminal did not open", "The device or the network may be away. Look at the device's connection in the list, then reconnect.");
}

/** The page stopped by itself: more output than it can draw, faster than it can say stop. */
export function endingByFlood(): Ending {
  return warning("Too much output at once", "The device sent more than this page can show, so it disconnected. Reconnect to open a new shell.");
}

function adviceFor(problem: Problem): string {
  if (problem.status >= 500) {
    return problem.slug.startsWith("device-") ? "Check that the device has power and network, then reconnect." : "Wait a moment, then reconnect.";
  }
  switch (problem.status) {
    case 403:
    case 404:
      return "Ask an administrator if you should have access.";
    case 429:
      return "Close a session that you no longer need, then reconnect.";
    default:
      return "";
  }
}

function calm(title: string, advice: string): Ending {
  return { title, advice, tone: "calm", comesBack: false };
}

function comingBack(title: string, advice: string): Ending {
  return { title, advice, tone: "warning", comesBack: true };
}

function warning(title: string, advice: string): Ending {
  return { title, advice, tone: "warning", comesBack: false };
}
