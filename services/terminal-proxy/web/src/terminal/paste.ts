/** More than this is a file, and a terminal is a bad way to send one. */
export const MAX_PASTE_CHARACTERS = 1024 * 1024;

/** Longer text than this is worth a question even on one line. */
const LONG_CHARACTERS = 5_000;
const PREVIEW_LINES = 8;
const PREVIEW_COLUMNS = 120;

export type PasteVerdict =
  | { readonly kind: "nothing" }
  | { readonly kind: "paste"; readonly text: string }
  | { readonly kind: "ask"; readonly text: string; readonly question: string; readonly preview: string }
  | { readonly kind: "refuse"; readonly reason: string };

/** Decides what happens to pasted text: a line break runs a command, so nobody sends one unawares. */
export function judgePaste(clipboard: string): PasteVerdict {
  const text = withoutControls(clipboard);
  if (text === "") {
    return { kind: "nothing" };
  }
  if (text.length > MAX_PASTE_CHARACTERS) {
    return { kind: "refuse", reason: "This is too much to paste. Send large files another way." };
  }
  const lines = text.split("\n");
  if (lines.length === 1 && text.length <= LONG_CHARACTERS) {
    return { kind: "paste", text };
  }
  return { kind: "ask", text, question: questionFor(lines, text.length), preview: previewOf(lines) };
}

/** An escape character in the text could end bracketed paste early and turn the rest into typed commands. */
function withoutControls(text: string): string {
  return text.replace(/\r\n?/g, "\n").replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "");
}

function questionFor(lines: readonly string[], characters: number): string {
  if (lines.length === 1) {
    return `Paste ${characters.toLocaleString("en")} characters?`;
  }
  const filled = lines.at(-1) === "" ? lines.length - 1 : lines.length;
  return filled === 1 ? "Paste this line and run it?" : `Paste ${filled.toLocaleString("en")} lines?`;
}

function previewOf(lines: readonly string[]): string {
  const shown = lines.slice(0, PREVIEW_LINES).map((line) => (line.length > PREVIEW_COLUMNS ? `${line.slice(0, PREVIEW_COLUMNS)}…` : line));
  return lines.length > PREVIEW_LINES ? `${shown.join("\n")}\n…` : shown.join("\n").replace(/\n$/, "");
}
