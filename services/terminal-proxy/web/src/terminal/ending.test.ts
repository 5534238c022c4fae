import { expect, test } from "vitest";
import { Problem } from "../problem";
import { endingOf, endingOfRefusal } from "./ending";

test.each([
  [1000, "The shell ended"],
  [1001, "The terminal was closed"],
  [1009, "A message was too large"],
  [1011, "The device ended the session"],
  [1012, "The server restarts"],
  [4401, "Your login ended"],
  [4403, "The session was ended"],
  [4404, "The device was decommissioned"],
  [4408, "The session was idle for too long"],
  [1006, "The connection was lost"],
  [4999, "The connection was lost"],
])("close code %d reads «%s»", (code, title) => {
  expect(endingOf(code).title).toBe(title);
});

test.each([
  [1011, "device-lost", "The device is gone"],
  [1012, "proxy-restarts", "The server restarts"],
  [4403, "access-lost", "You may no longer open this device"],
  [4408, "stalled", "The connection was too slow"],
  [4408, "a reason of a later version", "The session was idle for too long"],
])("close code %d with the reason «%s» reads «%s»", (code, reason, title) => {
  expect(endingOf(code, reason).title).toBe(title);
});

test("only a restart of the server brings the page back by itself", () => {
  const codes = [1000, 1001, 1006, 1008, 1009, 1012, 4401, 4403, 4404, 4408];

  expect(codes.filter((code) => endingOf(code).comesBack)).toEqual([1012]);
});

test("only an end that was wanted is calm", () => {
  expect([1000, 1001, 1006, 4408].map((code) => endingOf(code).tone)).toEqual(["calm", "calm", "warning", "warning"]);
});

test("a refusal keeps the server's words and adds what to do", () => {
  const away = new Problem(503, "device-offline", "The device is away", "Its last handshake was 2 h ago.", 30);

  expect(endingOfRefusal(away)).toMatchObject({
    title: "The device is away",
    advice: "Its last handshake was 2 h ago. Try again in 30 s. Check that the device has power and network, then reconnect.",
    comesBack: false,
  });
});

test("a busy server is not blamed on the device", () => {
  const full = new Problem(503, "at-capacity", "The server is full", "No more sessions fit.");

  expect(endingOfRefusal(full).advice).toBe("No more sessions fit. Wait a moment, then reconnect.");
});
