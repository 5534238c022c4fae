/** A recording in the form asciicast v2 (docs.asciinema.org/manual/asciicast/v2). */
export interface Cast {
  readonly title: string;
  readonly username: string;
  /** Unix seconds. */
  readonly beganAt: number;
  readonly columns: number;
  readonly rows: number;
  readonly events: readonly CastEvent[];
  readonly seconds: number;
}

export interface CastEvent {
  /** Seconds since the beginning. */
  readonly at: number;
  readonly kind: "output" | "input" | "resize";
  readonly data: string;
}

const KINDS: ReadonlyMap<unknown, CastEvent["kind"]> = new Map([
  ["o", "output"],
  ["i", "input"],
  ["r", "resize"],
]);

/** Reads a recording; its last line may be cut, since a running session's is read as far as it is written. */
export function readCast(text: string): Cast {
  const [first, ...lines] = text.split("\n");
  const header = parsed(first ?? "") as Readonly<Record<string, unknown>> | undefined;
  if (header?.["version"] !== 2) {
    throw new Error("This is no recording of a terminal (asciicast v2).");
  }
  const events = lines.map(eventOf).filter((event) => event !== undefined);
  return {
    title: textOr(header["title"]),
    username: textOr(header["username"]),
    beganAt: numberOr(header["timestamp"], 0),
    columns: numberOr(header["width"], 80),
    rows: numberOr(header["height"], 24),
    events,
    seconds: events.at(-1)?.at ?? 0,
  };
}

/** `100x30`, as a resize event says it. */
export function sizeOf(data: string): { columns: number; rows: number } | undefined {
  const [, columns, rows] = /^(\d{1,4})x(\d{1,4})$/.exec(data) ?? [];
  return columns === undefined || rows === undefined ? undefined : { columns: Number(columns), rows: Number(rows) };
}

function eventOf(line: string): CastEvent | undefined {
  const event = parsed(line);
  if (!Array.isArray(event)) {
    return undefined;
  }
  const [at, code, data] = event as readonly unknown[];
  const kind = KINDS.get(code);
  return kind !== undefined && typeof at === "number" && typeof data === "string" ? { at, kind, data } : undefined;
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function textOr(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function numberOr(value: unknown, fallback: number): number {
  return typeof value === "number" ? value : fallback;
}
