import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Problem } from "../problem";
import { Renewal, renewalDelaySeconds } from "./renewal";

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

test("a session is renewed at half of its time, and at least every 45 s", () => {
  expect(renewalDelaySeconds(60)).toBe(30);
  expect(renewalDelaySeconds(300)).toBe(45);
  expect(renewalDelaySeconds(1)).toBe(2);
});

test("each renewal leads to the next one", async () => {
  const renew = vi.fn(() => Promise.resolve(60));
  new Renewal(renew).start(20);

  await vi.advanceTimersByTimeAsync(10_000);
  expect(renew).toHaveBeenCalledTimes(1);
  await vi.advanceTimersByTimeAsync(30_000);
  expect(renew).toHaveBeenCalledTimes(2);
});

test("a network that is away is tried again, a refusal is not", async () => {
  const renew = vi.fn(() => Promise.resolve(60));
  renew.mockRejectedValueOnce(new Problem(503, "unavailable", "Away", "Away."));
  renew.mockRejectedValueOnce(new Problem(403, "forbidden", "No", "No."));
  new Renewal(renew).start(20);

  await vi.advanceTimersByTimeAsync(60_000);
  expect(renew).toHaveBeenCalledTimes(2);
});

test("nothing is renewed after the end, not even by a renewal on its way", async () => {
  let answer: (seconds: number) => void = () => {};
  const renew = vi.fn(() => new Promise<number>((resolve) => (answer = resolve)));
  const renewal = new Renewal(renew);
  renewal.start(20);
  await vi.advanceTimersByTimeAsync(10_000);

  renewal.stop();
  answer(20);
  await vi.advanceTimersByTimeAsync(60_000);

  expect(renew).toHaveBeenCalledTimes(1);
});
