import { expect, test } from "vitest";
import { linkName, summary } from "./report";

test("the first broken link is the one to mend", () => {
  const chain = [
    { check: "policy", ok: true, detail: "Fine." },
    { check: "handshake", ok: false, detail: "No power." },
    { check: "tcp", ok: false, detail: "Not reached." },
  ];

  expect(summary(chain)).toBe("Mend this first: Tunnel. No power.");
});

test("what a terminal works without is not what to mend first", () => {
  const mqtt = { check: "mqtt", ok: false, detail: "Never." };

  expect(summary([mqtt, { check: "tcp", ok: false, detail: "Nobody." }])).toBe("Mend this first: Terminal port. Nobody.");
  expect(summary([mqtt, { check: "tcp", ok: true, detail: "" }])).toMatch(/^The device can be opened\./);
});

test("what could not be looked at is not said to be in order", () => {
  expect(summary([{ check: "tcp", ok: null, detail: "" }])).not.toContain("in order");
  expect(summary([{ check: "tcp", ok: true, detail: "" }])).toContain("in order");
});

test("a link that the page has never heard of is shown all the same", () => {
  expect(linkName("last_backup")).toBe("Last backup");
});
