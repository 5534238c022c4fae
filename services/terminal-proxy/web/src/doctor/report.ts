import type { Api, Link } from "../api";
import { tell } from "../page/dialog";
import { element } from "../page/dom";
import { noAnswer, Problem } from "../problem";

/** The links by name. One that is not here is shown under the name that the server gives it. */
const NAMES: ReadonlyMap<string, string> = new Map([
  ["token", "Your login"],
  ["policy", "Your rights"],
  ["device", "The device's state"],
  ["certificate", "Certificate"],
  ["mqtt", "Last message to the platform"],
  ["handshake", "Tunnel"],
  ["tcp", "Terminal port"],
  ["ttyd", "Terminal service"],
]);

/** What a terminal works without. */
const BESIDE_THE_WAY: ReadonlySet<string> = new Set(["mqtt"]);

type Verdict = "holds" | "broken" | "unknown";

const VERDICTS: Readonly<Record<Verdict, readonly [mark: string, words: string]>> = {
  holds: ["✓", "in order"],
  broken: ["✗", "broken"],
  unknown: ["–", "not known"],
};

/** Has the server look at every link between this person and the device's shell, and shows what it found. */
export async function showDoctor(api: Pick<Api, "examine">, deviceId: string): Promise<void> {
  const content = element("div", { class: "doctor", role: "status" }, element("p", { class: "muted" }, "Looking at every link…"));
  const closed = tell(`What about ${deviceId}?`, content);
  try {
    const chain = await api.examine(deviceId);
    content.replaceChildren(element("p", {}, summary(chain)), list(chain));
  } catch (error) {
    const problem = error instanceof Problem ? error : noAnswer();
    content.replaceChildren(element("p", {}, `${problem.title}. ${problem.detail}`));
  }
  await closed;
}

export function linkName(check: string): string {
  const plain = check.replaceAll("_", " ");
  return NAMES.get(check) ?? `${plain.charAt(0).toUpperCase()}${plain.slice(1)}`;
}

/** The first broken link on the way to the shell is the one to mend: those behind it cannot hold. */
export function summary(chain: readonly Link[]): string {
  const broken = chain.filter((link) => link.ok === false);
  const first = broken.find((link) => !BESIDE_THE_WAY.has(link.check));
  if (first !== undefined) {
    return `Mend this first: ${linkName(first.check)}. ${first.detail}`;
  }
  if (chain.some((link) => link.ok === null)) {
    return "Nothing that a terminal needs is broken, as far as could be seen.";
  }
  return broken.length === 0 ? "Everything is in order: the device can be opened." : "The device can be opened. What is broken below, a terminal works without.";
}

function list(chain: readonly Link[]): HTMLElement {
  return element("ol", { class: "chain" }, ...chain.map(item));
}

function item(link: Link): HTMLElement {
  const verdict: Verdict = link.ok === null ? "unknown" : link.ok ? "holds" : "broken";
  const [mark, words] = VERDICTS[verdict];
  return element(
    "li",
    { "data-verdict": verdict, "data-check": link.check },
    element("span", { class: "verdict", "aria-hidden": "true" }, mark),
    element("p", {}, element("strong", {}, linkName(link.check)), element("span", { class: "verdict-words" }, ` ${words}`), element("span", { class: "detail" }, link.detail)),
  );
}
