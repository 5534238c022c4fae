import type { Cast } from "./cast";

/** What moves the cursor or colours the text, and what is no text at all. */
const NO_TEXT = /\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]|[\x00-\x08\x0b-\x1f\x7f]/g;

/** More places than anybody looks at. */
const MAX_FOUND = 1_000;

/** The text of a recording without its colours, and when each part of it was shown. */
export class CastText {
  private readonly text: string;
  /** Where each part of the text that stands together begins, in it and in all that was shown. */
  private readonly parts: { readonly text: number; readonly shown: number }[] = [];
  /** Where each event's output begins in all that was shown. */
  private readonly begins: number[] = [];

  constructor(private readonly cast: Cast) {
    let shown = "";
    const pieces: string[] = [];
    for (const event of cast.events) {
      this.begins.push(pieces.length === 0 ? 0 : (this.begins.at(-1) ?? 0) + (pieces.at(-1)?.length ?? 0));
      pieces.push(event.kind === "output" ? event.data : "");
    }
    shown = pieces.join("");
    let [text, from] = ["", 0];
    const take = (to: number): void => {
      if (to > from) {
        this.parts.push({ text: text.length, shown: from });
        text += shown.slice(from, to);
      }
    };
    for (const match of shown.matchAll(NO_TEXT)) {
      take(match.index);
      from = match.index + match[0].length;
    }
    take(shown.length);
    this.text = text.toLowerCase();
  }

  /** The moments at which the last character of what is sought was shown, in order; each moment once. */
  find(sought: string): number[] {
    const needle = sought.toLowerCase();
    const moments: number[] = [];
    for (let at = needle === "" ? -1 : this.text.indexOf(needle); at >= 0 && moments.length < MAX_FOUND; at = this.text.indexOf(needle, at + 1)) {
      const moment = this.momentOf(at + needle.length - 1);
      if (moment !== moments.at(-1)) {
        moments.push(moment);
      }
    }
    return moments;
  }

  private momentOf(at: number): number {
    const part = this.parts[lastNotAfter(this.parts, at, (entry) => entry.text)];
    const shown = (part?.shown ?? 0) + at - (part?.text ?? 0);
    return this.cast.events[lastNotAfter(this.begins, shown, (begin) => begin)]?.at ?? 0;
  }
}

/** The index of the last entry that is not after a place; entries are in order. */
export function lastNotAfter<Entry>(entries: readonly Entry[], place: number, placeOf: (entry: Entry) => number): number {
  let [low, high] = [0, entries.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (placeOf(entries[middle] as Entry) <= place) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low - 1;
}
