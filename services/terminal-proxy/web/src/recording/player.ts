import { sizeOf, type Cast, type CastEvent } from "./cast";
import { lastNotAfter } from "./search";

/** A pause longer than this is cut short, if the person wants that. */
const LONGEST_PAUSE_SECONDS = 2;

/** What is drawn on. */
export interface Canvas {
  clear(columns: number, rows: number): void;
  write(output: string): void;
  resize(columns: number, rows: number): void;
}

/** Where a recording stands. It knows no clock: whoever plays it says how much time has passed. */
export class Player {
  /** The next event that was not drawn. */
  private next = 0;
  private at = 0;

  constructor(
    private readonly cast: Cast,
    private readonly canvas: Canvas,
  ) {
    canvas.clear(cast.columns, cast.rows);
  }

  get position(): number {
    return this.at;
  }

  get isAtEnd(): boolean {
    return this.next >= this.cast.events.length;
  }

  /** Goes on by so many seconds of the recording. */
  advance(seconds: number, skipsPauses: boolean): void {
    const due = this.cast.events[this.next]?.at;
    if (skipsPauses && due !== undefined && due - this.at > LONGEST_PAUSE_SECONDS) {
      this.at = due - LONGEST_PAUSE_SECONDS;
    }
    this.drawUpTo(Math.min(this.at + seconds, this.cast.seconds));
  }

  /** Goes to a moment: what was on the screen then is there again. */
  seek(seconds: number): void {
    const moment = Math.min(Math.max(seconds, 0), this.cast.seconds);
    if (moment < this.at) {
      this.next = 0;
      this.canvas.clear(this.cast.columns, this.cast.rows);
    }
    this.drawUpTo(moment);
  }

  private drawUpTo(moment: number): void {
    this.at = moment;
    const end = lastNotAfter(this.cast.events, moment, (event) => event.at) + 1;
    let output = "";
    for (; this.next < end; this.next += 1) {
      const event = this.cast.events[this.next] as CastEvent;
      const size = event.kind === "resize" ? sizeOf(event.data) : undefined;
      if (size !== undefined) {
        this.canvas.write(output);
        output = "";
        this.canvas.resize(size.columns, size.rows);
      } else if (event.kind === "output") {
        output += event.data;
      }
    }
    this.canvas.write(output);
  }
}
