/** How often the page tries to come back after the server restarted, before it leaves that to the person. */
const MAX_TRIES = 6;
const FIRST_DELAY_MS = 1_000;
const LONGEST_DELAY_MS = 30_000;

/**
 * The delay before try `number` (counted from 1), or nothing when it is time to stop.
 * Full jitter: thousands of pages lost the same server at the same moment.
 */
export function comebackDelayMs(number: number, random: () => number = Math.random): number | undefined {
  if (number > MAX_TRIES) {
    return undefined;
  }
  const ceiling = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** number);
  return FIRST_DELAY_MS / 2 + random() * ceiling;
}
