import { Problem } from "../problem";

/** The longest time between two renewals: the proxy learns within a minute that a role was taken away. */
const LONGEST_DELAY_SECONDS = 45;
const SHORTEST_DELAY_SECONDS = 2;

/** Shows the proxy a fresh token again and again, so that a session does not end with the token that opened it. */
export class Renewal {
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly renew: () => Promise<number>) {}

  /** Renews in time for a session that would end in `seconds`. */
  start(seconds: number): void {
    this.timer = setTimeout(() => void this.once(), renewalDelaySeconds(seconds) * 1000);
  }

  stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private async once(): Promise<void> {
    const before = this.timer;
    let seconds: number;
    try {
      seconds = await this.renew();
    } catch (error) {
      if (!mayPass(error)) {
        return; // the proxy ends the session, with a close code that says why
      }
      seconds = SHORTEST_DELAY_SECONDS * 2;
    }
    if (this.timer === before && before !== undefined) {
      this.start(seconds);
    }
  }
}

/** Half of what is left, so that one try that fails is not the end. */
export function renewalDelaySeconds(secondsLeft: number): number {
  return Math.min(LONGEST_DELAY_SECONDS, Math.max(SHORTEST_DELAY_SECONDS, secondsLeft / 2));
}

/** The network or the server may be back at the next try; a refusal stays one. */
function mayPass(error: unknown): boolean {
  return error instanceof Problem && (error.status === 0 || error.status === 429 || error.status >= 500);
}
