import { noAnswer, Problem } from "../problem";

const INTERVAL_MS = 5_000;

export interface PollEvents<News> {
  news(news: News): void;
  trouble(problem: Problem): void;
}

/** Asks every 5 s while the page can be seen. One question at a time. */
export class Poll<News> {
  private timer: number | undefined;
  private stopped = true;
  /** A later start makes the answers to earlier questions nobody's. */
  private round = 0;

  constructor(
    private readonly load: () => Promise<News>,
    private readonly events: PollEvents<News>,
  ) {}

  start(): void {
    this.stop();
    this.stopped = false;
    document.addEventListener("visibilitychange", this.onVisibility);
    void this.ask();
  }

  stop(): void {
    this.stopped = true;
    this.round += 1;
    document.removeEventListener("visibilitychange", this.onVisibility);
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private readonly onVisibility = (): void => {
    // A timer means that no question is on its way: ask at once instead of at its end.
    if (!document.hidden && this.timer !== undefined) {
      clearTimeout(this.timer);
      void this.ask();
    }
  };

  private async ask(): Promise<void> {
    const { round } = this;
    this.timer = undefined;
    if (!document.hidden) {
      let tell: () => void;
      try {
        const news = await this.load();
        tell = () => this.events.news(news);
      } catch (error) {
        tell = () => this.events.trouble(error instanceof Problem ? error : noAnswer());
      }
      if (round !== this.round) {
        return;
      }
      tell();
    }
    if (!this.stopped && round === this.round) {
      this.timer = window.setTimeout(() => void this.ask(), INTERVAL_MS);
    }
  }
}
