const DEADLINE_MS = 15_000;
const PAUSE_MS = 50;

/** The open terminal, as a person sees and uses it. */
export class TerminalPage {
  constructor(tab, frame = tab) {
    this.tab = tab;
    this.screen = frame.locator(".terminal:not([hidden]) .screen");
  }

  /** What is on the screen, line by line, as xterm.js drew it. */
  screenText() {
    return this.screen.locator(".xterm-rows").evaluate((rows) =>
      // xterm.js draws a space as a no-break space.
      [...rows.children].map((row) => row.textContent.replaceAll("\u00a0", " ").trimEnd()).join("\n").trimEnd(),
    );
  }

  /** How many rows are drawn. */
  rows() {
    return this.screen.locator(".xterm-rows > div").count();
  }

  focus() {
    return this.screen.locator("textarea").focus();
  }

  async run(command) {
    await this.tab.keyboard.type(command);
    await this.tab.keyboard.press("Enter");
  }

  waitForText(text) {
    return this.waitFor(async () => (await this.screenText()).includes(text), `«${text}» on the screen`);
  }

  waitForPrompt() {
    return this.waitFor(async () => /[$#>%] ?$/.test(await this.screenText()), "a prompt");
  }

  /** The size that the device's own terminal has. The label tells this answer from earlier ones. */
  async deviceSize(label) {
    this.asked = (this.asked ?? 0) + 1;
    const mark = `${label}${this.asked}`;
    await this.run(`echo ${mark}=$(stty size)`);
    const pattern = new RegExp(`${mark}=(\\d+) (\\d+)`);
    await this.waitFor(async () => pattern.test(await this.screenText()), `${mark} and a size`);
    const [, rows, columns] = pattern.exec(await this.screenText());
    return { rows: Number(rows), columns: Number(columns) };
  }

  async paste(text) {
    await this.tab.evaluate((value) => navigator.clipboard.writeText(value), text);
    await this.tab.keyboard.press("Control+Shift+V");
  }

  clipboard() {
    return this.tab.evaluate(() => navigator.clipboard.readText());
  }

  /** Double-clicks the first word of the line that reads exactly like this. */
  async selectWord(line) {
    const row = this.screen.locator(".xterm-rows > div").filter({ hasText: new RegExp(`^${line}`) });
    // xterm.js catches the mouse in a layer above the rows, which the driver would take for an obstacle.
    await row.dblclick({ position: { x: 8, y: 8 }, force: true });
  }

  async waitFor(condition, what) {
    const deadline = performance.now() + DEADLINE_MS;
    while (!(await condition())) {
      if (performance.now() > deadline) {
        throw new Error(`waited ${DEADLINE_MS / 1000} s for ${what}`);
      }
      await this.tab.waitForTimeout(PAUSE_MS);
    }
  }
}
