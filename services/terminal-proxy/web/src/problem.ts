/** A refusal that a person can read (RFC 9457 problem document). */
export class Problem extends Error {
  constructor(
    /** HTTP status, or 0 when there was no answer at all. */
    readonly status: number,
    /** The last part of the problem's `type`, such as `device-offline`; empty when there is none. */
    readonly slug: string,
    readonly title: string,
    readonly detail: string,
    /** Seconds after which it is worth trying again, when the server said so. */
    readonly retryAfterSeconds?: number,
  ) {
    super(detail === "" ? title : `${title}: ${detail}`);
    this.name = "Problem";
  }
}

/** Reads the problem document of a refused request; any other body gives a plain sentence. */
export async function problemOf(response: Response): Promise<Problem> {
  const retryAfter = Number.parseInt(response.headers.get("retry-after") ?? "", 10);
  const body = await problemDocument(response);
  return new Problem(
    response.status,
    textOr(body["type"], "").split(":").at(-1) ?? "",
    textOr(body["title"], "The server refused the request"),
    textOr(body["detail"], `It answered with status ${response.status}.`),
    Number.isNaN(retryAfter) ? undefined : retryAfter,
  );
}

/** A request that got no answer: the network or the server is away. */
export function noAnswer(): Problem {
  return new Problem(0, "", "No answer from the server", "Check your network connection, then try again.");
}

async function problemDocument(response: Response): Promise<Record<string, unknown>> {
  const type = response.headers.get("content-type") ?? "";
  if (!/^application\/(problem\+)?json/i.test(type)) {
    return {};
  }
  try {
    const body: unknown = await response.json();
    return typeof body === "object" && body !== null ? (body as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function textOr(value: unknown, fallback: string): string {
  return typeof value === "string" && value !== "" ? value : fallback;
}
