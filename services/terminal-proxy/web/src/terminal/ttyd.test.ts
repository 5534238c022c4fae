import { expect, test } from "vitest";
import { helloMessage, inputMessages, MAX_INPUT_MESSAGE_BYTES, readDeviceMessage, resizeMessage } from "./ttyd";

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const bytes = (value: string): ArrayBuffer => new TextEncoder().encode(value).buffer;

test("a session begins with an empty token and the size of the screen", () => {
  expect(JSON.parse(text(helloMessage({ columns: 120, rows: 40 })))).toEqual({ AuthToken: "", columns: 120, rows: 40 });
});

test("a resize is the command 1 and the size", () => {
  expect(text(resizeMessage({ columns: 80, rows: 24 }))).toBe('1{"columns":80,"rows":24}');
});

test("a keystroke is the command 0 and its UTF-8 bytes", () => {
  expect(inputMessages("ü").map(text)).toEqual(["0ü"]);
});

test("nothing typed sends nothing", () => {
  expect(inputMessages("")).toEqual([]);
});

test("a long paste is cut into messages the proxy accepts, and no byte is lost", () => {
  const pasted = "äöü€\n".repeat(20_000);

  const messages = inputMessages(pasted);

  expect(Math.max(...messages.map((message) => message.length))).toBe(MAX_INPUT_MESSAGE_BYTES);
  expect(messages.every((message) => message[0] === "0".charCodeAt(0))).toBe(true);
  const joined = new Uint8Array(messages.flatMap((message) => [...message.subarray(1)]));
  expect(text(joined)).toBe(pasted);
});

test("output keeps bytes that are not UTF-8", () => {
  const message = readDeviceMessage(new Uint8Array([0x30, 0xff, 0x00, 0x80]).buffer);

  expect(message).toEqual({ kind: "output", bytes: new Uint8Array([0xff, 0x00, 0x80]) });
});

test.each([
  ["1root@pump-7", { kind: "title", title: "root@pump-7" }],
  ['2{"fontSize":60}', { kind: "preferences" }],
  ["9", { kind: "unknown" }],
  ["", { kind: "unknown" }],
])("the device's message %j is understood", (message, expected) => {
  expect(readDeviceMessage(bytes(message))).toEqual(expected);
});

test("a text message is read like a binary one", () => {
  expect(readDeviceMessage("1shell")).toEqual({ kind: "title", title: "shell" });
});
