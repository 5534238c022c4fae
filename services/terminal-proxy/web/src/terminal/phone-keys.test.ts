import { expect, test } from "vitest";
import { withCtrl } from "./phone-keys";

test.each([
  ["c", "\x03"],
  ["C", "\x03"],
  ["[", "\x1b"],
  [" ", "\0"],
  ["?", "\x7f"],
  ["\x1b[A", "\x1b[1;5A"],
  ["\x1bOD", "\x1b[1;5D"],
  ["é", "é"],
  ["5", "5"],
  ["ab", "\x01b"],
])("Ctrl turns %j into %j", (typed, sent) => {
  expect(withCtrl(typed)).toBe(sent);
});
