import { expect, test } from "vitest";
import { readCast } from "./cast";
import { Player } from "./player";

const CAST = readCast(`{"version":2,"width":80,"height":24}
[0.0, "r", "100x30"]
[1.0, "o", "one "]
[2.0, "o", "two "]
[60.0, "r", "120x40"]
[60.5, "o", "three"]`);

test("a recording is drawn in its time, in its size", () => {
  const canvas = new Canvas();
  const player = new Player(CAST, canvas);

  player.advance(1.5, false);
  expect(canvas.said).toEqual(["clear 80x24", "100x30", "one "]);
  player.advance(100, false);

  expect(canvas.said.slice(3)).toEqual(["two ", "120x40", "three"]);
  expect([player.isAtEnd, player.position]).toEqual([true, 60.5]);
});

test("going back draws everything up to there again", () => {
  const canvas = new Canvas();
  const player = new Player(CAST, canvas);
  player.seek(61);
  canvas.said.length = 0;

  player.seek(1.2);

  expect(canvas.said).toEqual(["clear 80x24", "100x30", "one "]);
  expect(player.isAtEnd).toBe(false);
});

test("a long pause is cut short for who wants that", () => {
  const player = new Player(CAST, new Canvas());
  player.seek(2);

  player.advance(1, true);
  expect(player.position).toBe(59);
  player.seek(2);
  player.advance(1, false);

  expect(player.position).toBe(3);
});

class Canvas {
  readonly said: string[] = [];

  clear(columns: number, rows: number): void {
    this.said.push(`clear ${columns}x${rows}`);
  }

  write(output: string): void {
    if (output !== "") {
      this.said.push(output);
    }
  }

  resize(columns: number, rows: number): void {
    this.said.push(`${columns}x${rows}`);
  }
}
