import { expect, test } from "vitest";
import { pageKey } from "./keys";

const NONE = { ctrlKey: false, shiftKey: false, altKey: false, metaKey: false };
const CTRL_SHIFT = { ...NONE, ctrlKey: true, shiftKey: true };

test("Ctrl+C belongs to the shell, Ctrl+Shift+C copies", () => {
  expect(pageKey({ ...NONE, ctrlKey: true, code: "KeyC" })).toBeUndefined();
  expect(pageKey({ ...CTRL_SHIFT, code: "KeyC" })).toBe("copy");
});

test("Ctrl+Shift+V is left to the browser, which pastes", () => {
  expect(pageKey({ ...CTRL_SHIFT, code: "KeyV" })).toBeUndefined();
});

test("Ctrl+Shift+Alt+C is another key", () => {
  expect(pageKey({ ...CTRL_SHIFT, altKey: true, code: "KeyC" })).toBeUndefined();
});
