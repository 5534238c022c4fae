import { expect, test } from "vitest";
import { judgePaste, MAX_PASTE_CHARACTERS } from "./paste";

test("one line without a line break is pasted at once", () => {
  expect(judgePaste("uname -a")).toEqual({ kind: "paste", text: "uname -a" });
});

test("a line break at the end would run the line, so it is asked about", () => {
  expect(judgePaste("reboot\n")).toEqual({ kind: "ask", text: "reboot\n", question: "Paste this line and run it?", preview: "reboot" });
});

test.each(["a\nb\nc", "a\r\nb\r\nc", "a\rb\rc", "a\nb\nc\n"])("several lines are counted and shown: %j", (clipboard) => {
  expect(judgePaste(clipboard)).toMatchObject({ kind: "ask", question: "Paste 3 lines?", preview: "a\nb\nc" });
});

test("a long preview is cut in both directions", () => {
  const verdict = judgePaste(`${"x".repeat(500)}\n`.repeat(100));

  const lines = verdict.kind === "ask" ? verdict.preview.split("\n") : [];
  expect(lines).toHaveLength(9);
  expect(lines[0]).toBe(`${"x".repeat(120)}…`);
  expect(lines.at(-1)).toBe("…");
});

test("an escape sequence cannot end bracketed paste from within", () => {
  expect(judgePaste("ls\u001b[201~\u0003")).toEqual({ kind: "paste", text: "ls[201~" });
});

test("tabs stay", () => {
  expect(judgePaste("a\tb")).toEqual({ kind: "paste", text: "a\tb" });
});

test("a very long line is asked about", () => {
  expect(judgePaste("x".repeat(6_000))).toMatchObject({ kind: "ask", question: "Paste 6,000 characters?" });
});

test("a file is refused", () => {
  expect(judgePaste("x".repeat(MAX_PASTE_CHARACTERS + 1)).kind).toBe("refuse");
});

test("an empty clipboard does nothing", () => {
  expect(judgePaste("\u001b")).toEqual({ kind: "nothing" });
});
