const MAX_CHARACTERS = 80;

/**
 * A title that a device chose, made fit to be shown beside the device's own name. It never replaces
 * that name, nor the title of the browser's window: a device must not pass for another.
 */
export function shownTitle(title: string): string {
  // Control characters, and those that turn the direction of the text around.
  const plain = title.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, "").trim();
  const characters = Array.from(plain);
  return characters.length > MAX_CHARACTERS ? `${characters.slice(0, MAX_CHARACTERS).join("")}…` : plain;
}
