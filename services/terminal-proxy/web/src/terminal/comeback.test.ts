import { expect, test } from "vitest";
import { comebackDelayMs } from "./comeback";

test("pages that lost the server at the same moment come back at different ones", () => {
  expect([0, 0.5, 1].map((luck) => comebackDelayMs(1, () => luck))).toEqual([500, 1_500, 2_500]);
});

test("the longest wait grows, up to half a minute", () => {
  expect([1, 2, 3, 4, 5, 6].map((number) => comebackDelayMs(number, () => 1))).toEqual([2_500, 4_500, 8_500, 16_500, 30_500, 30_500]);
});

test("after six tries the page leaves it to the person", () => {
  expect(comebackDelayMs(7)).toBeUndefined();
});
