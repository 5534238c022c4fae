import { existing } from "./dom";

/** Tells people who use a screen reader what everybody else sees happen. */
export function announce(message: string): void {
  const announcer = existing("announcer");
  // The same sentence twice in a row is news too: a no-break space makes it a change.
  announcer.textContent = announcer.textContent === message ? `${message}\u00a0` : message;
}
