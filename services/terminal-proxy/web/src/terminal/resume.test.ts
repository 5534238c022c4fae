import { describe, expect, it } from "vitest";
import { endingOfResumable } from "./ending";
import { Numbering, OpenShells } from "./resume";
import { acknowledgeMessage, readGreeting } from "./ttyd";

const GREETING = { session_id: "0197", resumed: false, offset: 10, lost: 0, keep_seconds: 300 };

describe("numbered output", () => {
  it("is acknowledged when much is drawn, and gone on with behind what was received", () => {
    const sent: string[] = [];
    const numbering = new Numbering(GREETING, (message) => sent.push(new TextDecoder().decode(message)));

    numbering.received(8191);
    numbering.drawn(8191);
    expect(sent).toEqual([]);
    numbering.received(100);
    numbering.drawn(1);

    expect(sent).toEqual(["48202"]);
    expect(numbering.point).toEqual({ sessionId: "0197", offset: 8301 });
  });

  it("is greeted by the proxy in a form that the page knows", () => {
    expect(readGreeting(JSON.stringify(GREETING))).toEqual(GREETING);
    for (const text of ["", "{", "[]", "{}", '{"session_id":7,"offset":0}']) {
      expect(readGreeting(text), text).toBeUndefined();
    }
    expect(new TextDecoder().decode(acknowledgeMessage(0))).toBe("40");
  });
});

describe("a shell that survives", () => {
  it("is come back to after a lost connection and not after its end", () => {
    expect(endingOfResumable(1006, "").comesBack).toBe(true);
    expect(endingOfResumable(4408, "stalled").comesBack).toBe(true);
    expect(endingOfResumable(4409, "continued-elsewhere").comesBack).toBe(false);
    expect(endingOfResumable(1000, "shell-exited").comesBack).toBe(false);
    expect(endingOfResumable(4403, "killed").comesBack).toBe(false);
  });

  it("is remembered for a reload by its device", () => {
    const shells = new OpenShells(memory());
    shells.remember("pump-2", "b");
    shells.remember("pump-1", "a");

    expect(shells.devices()).toEqual(["pump-1", "pump-2"]);
    shells.forget("pump-2");
    expect([shells.sessionOf("pump-1"), shells.sessionOf("pump-2")]).toEqual(["a", undefined]);
  });
});

function memory(): Storage {
  const items = new Map<string, string>();
  return {
    get length() {
      return items.size;
    },
    key: (index) => [...items.keys()][index] ?? null,
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => void items.set(key, value),
    removeItem: (key) => void items.delete(key),
    clear: () => items.clear(),
  };
}
