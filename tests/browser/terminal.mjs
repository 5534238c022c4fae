// Opens a device's terminal the way a person does, in a real Chromium: logs in, finds the device,
// types, pastes, resizes, leaves. Prints one line a step; the first step that fails ends it with 1.
//
//   node tests/browser/terminal.mjs --url http://127.0.0.1:8888 --username demo --password-file FILE
//     [--device ID] [--screenshot FILE] [--chromium /usr/bin/chromium]

import assert from "node:assert/strict";
import { openBrowser } from "./browser.mjs";
import { TerminalPage } from "./terminal-page.mjs";
import { controlsHaveNames, fillLogin, findDevice, logIn, readOptions, walk } from "./walk.mjs";

const options = readOptions();

const STEPS = [
  ["logs in through the issuer's form", () => logIn(tab, options)],
  ["sees the fleet with its live state", async () => (options.device = await findDevice(tab, options))],
  ["filters the list and opens the device by keyboard", openByKeyboard],
  ["sees a prompt", () => page.waitForPrompt()],
  ["types a command and reads its output", typeCommand],
  ["reloads the page and goes on in the same shell", reload],
  ["resizes the window and the device's terminal follows", resize],
  ["changes the text's size", changeFontSize],
  ["pastes one line at once", pasteLine],
  ["is asked before several lines are pasted", pasteLines],
  ["copies a selection", copySelection],
  ["keeps its clipboard and window title from the device", resistEscapes],
  ["is told that an update runs on the device, and when it is over", seeUpdate],
  ["leaves the terminal by keyboard and reaches every button", walkByKeyboard],
  ["has a name for everything that can be pressed", () => controlsHaveNames(tab)],
  ["is told that the shell ended", endShell],
  ["reconnects by keyboard and has a new shell", reconnect],
  ["logs out", logOut],
  ["met no console error and no violation of the content security policy", noErrors],
];

const { browser, page: tab, errors } = await openBrowser(options.chromium, options.url);
const page = new TerminalPage(tab);
await walk(STEPS, { tabs: () => [tab], errors, screenshot: options.screenshot });
await browser.close();

async function openByKeyboard() {
  await tab.getByRole("searchbox", { name: "Filter devices" }).focus();
  await tab.keyboard.type(options.device);
  await tab.keyboard.press("Tab");
  assert.equal(await tab.evaluate(() => document.activeElement.getAttribute("aria-label")), `Open a terminal on ${options.device}`);
  await tab.keyboard.press("Enter");
  await tab.getByText("Connected", { exact: true }).waitFor();
}

async function typeCommand() {
  await page.run("echo $((6*7))-browser");
  await page.waitForText("42-browser");
}

async function reload() {
  await page.run("kept=$((30+1))");
  await tab.reload();
  const form = tab.locator('input[name="username"]');
  const connected = tab.getByText("Connected", { exact: true });
  await form.or(connected).first().waitFor();
  if (await form.isVisible()) {
    await fillLogin(tab, options);
  }
  await connected.waitFor();
  // What was on the screen is there again.
  await page.waitForText("42-browser");
  await page.focus();
  await page.run("echo kept-$kept");
  await page.waitForText("kept-31");
}

async function resize() {
  const before = await page.deviceSize("before");
  await tab.setViewportSize({ width: 900, height: 520 });
  await page.waitFor(async () => (await page.deviceSize("after")).columns < before.columns, "fewer columns on the device");
}

async function changeFontSize() {
  const before = await page.deviceSize("normal");
  await tab.getByRole("button", { name: "Larger text" }).click();
  await page.focus();
  await page.waitFor(async () => (await page.deviceSize("larger")).columns < before.columns, "fewer, larger characters");
}

async function pasteLine() {
  await page.paste("echo pasted-$((40+2))");
  await page.waitForText("echo pasted-");
  await tab.keyboard.press("Enter");
  await page.waitForText("pasted-42");
}

async function pasteLines() {
  const dialog = tab.getByRole("dialog");
  await page.paste("echo refused-$((1+1))\necho refused-$((2+2))\n");
  await dialog.getByText("Paste 2 lines?").waitFor();
  await tab.keyboard.press("Enter");
  await dialog.waitFor({ state: "detached" });

  await page.paste("echo allowed-$((1+1))\necho allowed-$((2+2))\n");
  await dialog.getByText("Paste 2 lines?").waitFor();
  await tab.keyboard.press("Tab");
  await tab.keyboard.press("Enter");
  // A shell with bracketed paste waits for one more Enter; another has run the lines already.
  await page.waitForText("echo allowed-$((2+2))");
  await tab.keyboard.press("Enter");

  await page.waitForText("allowed-4");
  assert(!(await page.screenText()).includes("refused-"), "what was refused was not typed");
}

async function copySelection() {
  await page.run("echo copy-$((70+7))");
  await page.waitForText("copy-77");
  await page.selectWord("copy-77");
  await tab.keyboard.press("Control+Shift+C");
  await page.waitFor(async () => (await page.clipboard()).includes("77"), "the selection in the clipboard");
}

async function resistEscapes() {
  const [clipboard, title] = [await page.clipboard(), await tab.title()];
  await page.run("printf '\\033]52;c;c3RvbGVu\\a\\033]0;another-device\\a'; echo escaped-$((50+5))");
  await page.waitForText("escaped-55");
  assert.equal(await page.clipboard(), clipboard);
  assert.equal(await tab.title(), title);
}

/** The list says so; here the browser is shown a list in which it does. */
async function seeUpdate() {
  const banner = tab.getByText("An update is running on this device.");
  let update = "running";
  await tab.route("**/ui/api/devices*", async (route) => {
    const response = await route.fetch();
    const fleet = await response.json();
    await route.fulfill({ response, json: { ...fleet, devices: fleet.devices.map((device) => ({ ...device, update })) } });
  });
  await banner.waitFor();
  assert.equal(await banner.getAttribute("role"), "status");
  update = "finished";
  await banner.waitFor({ state: "hidden" });
  await tab.unroute("**/ui/api/devices*");
}

async function walkByKeyboard() {
  const focused = () => tab.evaluate(() => document.activeElement.getAttribute("aria-label") ?? document.activeElement.textContent);
  await page.focus();
  await tab.keyboard.press("Control+Shift+ArrowUp");
  assert.match(await focused(), /, connected$/);
  await tab.keyboard.press("ArrowLeft");
  assert.equal(await focused(), "Sessions");
  await tab.keyboard.press("ArrowRight");
  const reached = [];
  for (let presses = 0; presses < 12 && !reached.includes("Keys"); presses += 1) {
    await tab.keyboard.press("Tab");
    reached.push(await focused());
  }
  for (const button of ["Log out", "Smaller text", "Larger text", "Copy", "Paste", "Share", "Screen reader", "Keys"]) {
    assert(reached.includes(button), `${button} is not among ${reached}`);
  }
  await tab.keyboard.press("Enter");
  await tab.getByRole("dialog", { name: "Keyboard shortcuts" }).waitFor();
  await tab.keyboard.press("Escape");
  assert.equal(await focused(), "Keys");
  await page.focus();
}

async function endShell() {
  await page.run("exit");
  await tab.getByText("The shell ended.", { exact: true }).waitFor();
  await tab.getByRole("button", { name: "Reconnect" }).waitFor();
}

async function reconnect() {
  await tab.keyboard.press("Tab");
  await tab.keyboard.press("Enter");
  await page.waitForText("new shell");
  await page.run("echo again-$((90+9))");
  await page.waitForText("again-99");
}

async function logOut() {
  await tab.getByRole("button", { name: "Log out" }).click();
  await tab.getByRole("dialog").getByRole("button", { name: "Log out" }).click();
  await tab.getByRole("button", { name: "Log in" }).waitFor();
}

function noErrors() {
  assert.deepEqual(errors, []);
}
