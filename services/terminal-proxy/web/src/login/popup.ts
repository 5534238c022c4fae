import type { Keeping } from "../page/storage";
import { hasPendingLogin } from "./pending";

const WINDOW_NAME = "iot-bridge-login";
const FEATURES = "popup,width=520,height=720";
const KIND = "iot-bridge.login";

/** How often the page looks whether the person closed the window. */
const LOOK_MS = 500;

interface Answer {
  readonly kind: typeof KIND;
  readonly callback: string;
}

export function openLoginWindow(): Window {
  const opened = window.open("about:blank", WINDOW_NAME, FEATURES);
  if (opened === null) {
    throw new Error("The browser did not open a window for the login. Allow this page to do so, then try again.");
  }
  return opened;
}

/**
 * Waits for the address that the issuer sent the window back to. Only a page of our own origin in that very window is
 * believed; what it hands over is of use to nobody but the page that keeps the verifier.
 */
export function answerInWindow(opened: Window): Promise<URL> {
  return new Promise((resolve, reject) => {
    const onMessage = (event: MessageEvent<unknown>): void => {
      if (event.origin === location.origin && event.source === opened && isAnswer(event.data)) {
        finish();
        opened.close();
        resolve(new URL(event.data.callback, location.origin));
      }
    };
    const look = setInterval(() => {
      if (opened.closed) {
        finish();
        reject(new Error("The login window was closed before the login was done."));
      }
    }, LOOK_MS);
    const finish = (): void => {
      clearInterval(look);
      window.removeEventListener("message", onMessage);
    };
    window.addEventListener("message", onMessage);
  });
}

/** In that window: tells the page that opened it. */
export function tellOpener(storage: Keeping): boolean {
  const opener = window.opener as Window | null;
  if (opener === null || hasPendingLogin(storage, new URL(location.href))) {
    return false;
  }
  const answer: Answer = { kind: KIND, callback: location.pathname + location.search };
  history.replaceState(null, "", "/ui/callback");
  opener.postMessage(answer, location.origin);
  return true;
}

function isAnswer(data: unknown): data is Answer {
  return typeof data === "object" && data !== null && (data as Partial<Answer>).kind === KIND && typeof (data as Partial<Answer>).callback === "string";
}
