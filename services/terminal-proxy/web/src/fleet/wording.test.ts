import { expect, test } from "vitest";
import type { Device } from "../api";
import { ageWords, connectionWords, matching } from "./wording";

test.each([
  [0, "just now"],
  [12.7, "12 s ago"],
  [119, "119 s ago"],
  [120, "2 min ago"],
  [7_199, "119 min ago"],
  [7_200, "2 h ago"],
  [172_800, "2 days ago"],
])("%d seconds read «%s»", (seconds, words) => {
  expect(ageWords(seconds)).toBe(words);
});

test("a device without a handshake was never seen", () => {
  expect(connectionWords({ online: false, handshake_age_seconds: null })).toEqual({ state: "Never seen", age: "" });
});

test("a device with an old handshake is away", () => {
  expect(connectionWords({ online: false, handshake_age_seconds: 600 })).toEqual({ state: "Away", age: "10 min ago" });
});

test("the filter finds every word in any column, whatever its case", () => {
  const fleet = [device({ id: "pump-7", group: "north" }), device({ id: "pump-8", group: "south" }), device({ id: "fan-1", display_name: "Pump house fan", group: "north" })];

  expect(matching(fleet, " PUMP  north ").map(({ id }) => id)).toEqual(["pump-7", "fan-1"]);
});

test("the filter finds by what is shown of the connection", () => {
  const fleet = [device({ id: "a", online: true, handshake_age_seconds: 3 }), device({ id: "b" })];

  expect(matching(fleet, "online").map(({ id }) => id)).toEqual(["a"]);
});

test("an empty filter shows everything", () => {
  expect(matching([device({ id: "a" }), device({ id: "b" })], "  ")).toHaveLength(2);
});

function device(known: Partial<Device>): Device {
  return {
    id: "device",
    display_name: null,
    device_type: null,
    group: "default",
    state: "enrolled",
    address: null,
    online: false,
    handshake_age_seconds: null,
    may_open: true,
    update: null,
    ...known,
  };
}
