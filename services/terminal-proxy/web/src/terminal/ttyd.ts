/**
 * The messages of ttyd 1.7.7 (sub-protocol `tty`): one command byte, then the payload.
 * PAUSE (`2`) and RESUME (`3`) are never sent: RESUME loses output.
 */
export const SUB_PROTOCOL = "tty";

/** The same with numbered output, so that a session goes on after a lost network (docs/api.md). */
export const RESUME_SUB_PROTOCOL = "tty.resume.v1";

/** The proxy refuses larger messages with close code 1009. */
export const MAX_INPUT_MESSAGE_BYTES = 32 * 1024;

/** The proxy's first message where output is numbered. */
export interface Greeting {
  readonly session_id: string;
  readonly resumed: boolean;
  readonly offset: number;
  readonly lost: number;
  readonly keep_seconds: number;
}

/** What a watcher is told besides the output. */
export interface News {
  readonly columns: number;
  readonly rows: number;
  readonly lost: number;
  readonly may_type: boolean;
}

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

export type DeviceMessage =
  | { readonly kind: "output"; readonly bytes: Uint8Array }
  | { readonly kind: "title"; readonly title: string }
  | { readonly kind: "preferences" }
  | { readonly kind: "unknown" };

const INPUT = 0x30;
const RESIZE = "1";
const OUTPUT = 0x30;
const TITLE = 0x31;
const PREFERENCES = 0x32;

/** The first message of a session. ttyd's own token is not used: the proxy has checked who this is. */
export function helloMessage(size: Size): Uint8Array<ArrayBuffer> {
  return encode(JSON.stringify({ AuthToken: "", columns: size.columns, rows: size.rows }));
}

export function resizeMessage(size: Size): Uint8Array<ArrayBuffer> {
  return encode(RESIZE + JSON.stringify({ columns: size.columns, rows: size.rows }));
}

/** Says that all output in front of this number is on the screen. */
export function acknowledgeMessage(offset: number): Uint8Array<ArrayBuffer> {
  return encode(`4${offset}`);
}

export function readGreeting(text: string): Greeting | undefined {
  try {
    const greeting = JSON.parse(text) as Partial<Greeting>;
    return typeof greeting.session_id === "string" && typeof greeting.offset === "number" ? (greeting as Greeting) : undefined;
  } catch {
    return undefined;
  }
}

export function readNews(text: string): News | undefined {
  try {
    const news = JSON.parse(text) as Partial<News>;
    return typeof news.columns === "number" && typeof news.rows === "number" ? { columns: news.columns, rows: news.rows, lost: news.lost ?? 0, may_type: news.may_type === true } : undefined;
  } catch {
    return undefined;
  }
}

/** Keystrokes or a paste, cut so that each message stays within the proxy's limit. */
export function inputMessages(input: string | Uint8Array): Uint8Array<ArrayBuffer>[] {
  const bytes = typeof input === "string" ? encode(input) : input;
  const messages: Uint8Array<ArrayBuffer>[] = [];
  for (let start = 0; start < bytes.length; start += MAX_INPUT_MESSAGE_BYTES - 1) {
    const part = bytes.subarray(start, start + MAX_INPUT_MESSAGE_BYTES - 1);
    const message = new Uint8Array(part.length + 1);
    message[0] = INPUT;
    message.set(part, 1);
    messages.push(message);
  }
  return messages;
}

export function readDeviceMessage(data: ArrayBuffer | string): DeviceMessage {
  const bytes = typeof data === "string" ? encode(data) : new Uint8Array(data);
  const payload = bytes.subarray(1);
  switch (bytes[0]) {
    case OUTPUT:
      return { kind: "output", bytes: payload };
    case TITLE:
      return { kind: "title", title: new TextDecoder().decode(payload) };
    case PREFERENCES:
      return { kind: "preferences" };
    default:
      return { kind: "unknown" };
  }
}

function encode(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}
