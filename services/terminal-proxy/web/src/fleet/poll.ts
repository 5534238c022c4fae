import type { Fleet } from "../api";
import { noAnswer, Problem } from "../problem";

const INTERVAL_MS = 5_000;

export interface PollEvents {
  fleet(fleet: Fleet): void;
  trouble(problem: Problem): void;
}

/** Asks for the fleet every 5 s while the page can be seen. One question at a time. */
export class FleetPoll {
  private timer: number | undefined;
  private stopped = true;

  constructor(
    private readonly load: () => Promise<Fleet>,
    private readonly events: PollEvents,
  ) {}

  start(): void {
    this.stopped = false;
    document.addEventListener("visibilitychange", this.onVisibility);
    void this.ask();
  }

  stop(): void {
    this.stopped = true;
    document.removeEventListener("visibilitychange", this.onVisibility);
    clearTimeout(this.timer);
  }

  private readonly onVisibility = (): void => {
    // A timer means that no question is on its way: ask at once instead of at its end.
    if (!document.hidden && this.timer !== undefined) {
      clearTimeout(this.timer);
      void this.ask();
    }
  };

  private async ask(): Promise<void> {
    this.timer = undefined;
    if (!document.hidden) {
      try {
        this.events.fleet(await this.load());
      } catch (error) {
        this.events.trouble(error instanceof Problem ? error : noAnswer());
      }
    }
    if (!this.stopped) {
      this.timer = window.setTimeout(() => void this.ask(), INTERVAL_MS);
    }
  }
}
