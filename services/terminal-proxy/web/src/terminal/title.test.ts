import { expect, test } from "vitest";
import { shownTitle } from "./title";

test("a plain title is shown as it is", () => {
  expect(shownTitle("root@pump-7: ~")).toBe("root@pump-7: ~");
});

test("control characters and text direction marks are taken out", () => {
  expect(shownTitle("a\u0007b\u202egnp.exe\u2066\n")).toBe("abgnp.exe");
});

test("a long title is cut between characters, not inside one", () => {
  expect(shownTitle("🔧".repeat(200))).toBe(`${"🔧".repeat(80)}…`);
});
