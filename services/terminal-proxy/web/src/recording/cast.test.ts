import { expect, test } from "vitest";
import { readCast, sizeOf } from "./cast";
import { CastText } from "./search";

const HEADER = '{"version":2,"width":100,"height":30,"timestamp":1790000000,"title":"pump-7","username":"ada"}';

test("a recording is read as far as it is written", () => {
  const cast = readCast(`${HEADER}\n[0.0, "r", "100x30"]\n[0.5, "o", "$ "]\n[1.5, "i", "l"]\n[2.0, "o", "l`);

  expect(cast).toMatchObject({ title: "pump-7", username: "ada", columns: 100, rows: 30, seconds: 1.5 });
  expect(cast.events.map((event) => event.kind)).toEqual(["resize", "output", "input"]);
});

test("what is no recording is not taken for one", () => {
  expect(() => readCast("<html>")).toThrow("no recording");
});

test("a size is read, and nothing else", () => {
  expect(sizeOf("132x43")).toEqual({ columns: 132, rows: 43 });
  expect(sizeOf("132")).toBeUndefined();
});

test("a word is found at the moment when its last letter was shown, whatever its colours", () => {
  const text = new CastText(readCast(`${HEADER}
[1.0, "o", "\\u001b[1mer"]
[1.5, "i", "error"]
[2.0, "o", "\\u001b[31mro\\u001b]0;error\\u0007"]
[3.0, "o", "r\\u001b[0m"]
[4.0, "o", "Error, error"]`));

  expect(text.find("error")).toEqual([3, 4]);
  expect(text.find("nothing")).toEqual([]);
  expect(text.find("")).toEqual([]);
});
