// Two browsers of one fleet: the list of sessions, watching, typing along, the doctor, ending, playing back.
//
//   node tests/browser/sessions.mjs --url http://127.0.0.1:8888 --username demo --password-file FILE

import assert from "node:assert/strict";
import { openBrowser } from "./browser.mjs";
import { TerminalPage } from "./terminal-page.mjs";
import { controlsHaveNames, fillLogin, findDevice, logIn, readOptions, walk } from "./walk.mjs";

const options = readOptions();
const STEPS = [
  ["opens a shell", openShell],
  ["finds the session in the list, with its device and its person", findSession],
  ["watches it live in another browser, from the beginning", watchLive],
  ["watches at the size of the session's own page", followSize],
  ["changes nothing by typing while it only watches", typeInVain],
  ["lets others type along and gets a link for them", share],
  ["types along by that link in another browser", typeAlong],
  ["stops sharing, and nobody else types any more", stopSharing],
  ["has the doctor look at every link between it and the shell", seeDoctor],
  ["ends the session from the list, and its page says so", endSession],
  ["plays the recording", playBack],
  ["finds a word in the recording, and goes to where it was shown", searchRecording],
  ["moves in the recording by keyboard", seekByKeyboard],
  ["walks through everything by Tab, and is held nowhere", walkByTab],
  ["has a name for everything that can be pressed", namesEverywhere],
  ["met no console error and no violation of the content security policy", () => assert.deepEqual([...mine.errors, ...other.errors], [])],
];

const mine = await openBrowser(options.chromium, options.url);
const other = await openBrowser(options.chromium, options.url);
const [page, otherPage] = [new TerminalPage(mine.page), new TerminalPage(other.page)];
let link;
let session;
await walk(STEPS, { tabs: () => [mine.page, other.page], errors: mine.errors, screenshot: options.screenshot });
await mine.browser.close();
await other.browser.close();

async function openShell() {
  await logIn(mine.page, options);
  options.device = await findDevice(mine.page, options);
  await mine.page.locator(`tr[data-device="${options.device}"]`).getByRole("button", { name: /^Open/ }).click();
  await page.waitForPrompt();
  await page.run("echo before-$((20+1))");
  await page.waitForText("before-21");
  session = await mine.page.evaluate((device) => sessionStorage.getItem(`iot-bridge.shell.${device}`), options.device);
}

/** The row of that session. */
function sessionRow(tab) {
  return tab.locator(`tr[data-session="${session}"]`);
}

async function findSession() {
  await logIn(other.page, options);
  await other.page.getByRole("tab", { name: "Sessions" }).click();
  const row = sessionRow(other.page);
  await row.waitFor();
  const text = await row.innerText();
  for (const part of [options.device, options.username, "from 127.0.0.1", "Open"]) {
    assert(text.includes(part), text);
  }
  await controlsHaveNames(other.page);
}

async function watchLive() {
  await sessionRow(other.page).getByRole("button", { name: /^Watch/ }).click();
  await other.page.locator(".connection-state").getByText("Watching", { exact: true }).waitFor();
  await otherPage.waitForText("before-21");
  await page.run("echo during-$((20+2))");
  await otherPage.waitForText("during-22");
}

async function followSize() {
  const before = await page.deviceSize("before");
  await mine.page.setViewportSize({ width: 1000, height: 600 });
  await page.waitFor(async () => (await page.deviceSize("own")).rows < before.rows, "fewer rows on the device");
  const { rows } = await page.deviceSize("own");
  await otherPage.waitFor(async () => (await otherPage.rows()) === rows, "as many rows as the session's own page");
  await mine.page.setViewportSize({ width: 1280, height: 800 });
}

async function typeInVain() {
  await otherPage.focus();
  await other.page.keyboard.type("echo intruder");
  await page.run("echo alone-$((20+3))");
  await page.waitForText("alone-23");
  assert(!(await page.screenText()).includes("intruder"));
}

async function share() {
  await mine.page.getByRole("button", { name: "Share", exact: true }).click();
  const dialog = mine.page.getByRole("dialog", { name: "Others may type along" });
  link = await dialog.getByRole("textbox", { name: "Link to this session" }).inputValue();
  await dialog.getByRole("button", { name: "Copy the link" }).click();
  assert.equal(await page.clipboard(), link);
  await controlsHaveNames(mine.page);
  await mine.page.keyboard.press("Escape");
  await mine.page.getByRole("button", { name: "Stop sharing" }).waitFor();
}

async function typeAlong() {
  // In a browser that has to log in first.
  await other.page.evaluate(() => sessionStorage.clear());
  await other.page.goto("about:blank");
  await other.page.goto(link);
  await other.page.getByRole("button", { name: "Log in" }).click();
  await fillLogin(other.page, options);
  await other.page.locator(".connection-state").getByText("Connected, you may type", { exact: true }).waitFor();
  await otherPage.waitForText("alone-23");
  await otherPage.focus();
  await otherPage.run("echo together-$((20+4))");
  await page.waitForText("together-24");
  await otherPage.waitForText("together-24");
}

async function stopSharing() {
  await mine.page.getByRole("button", { name: "Stop sharing" }).click();
  await mine.page.getByRole("button", { name: "Share", exact: true }).waitFor();
  await otherPage.focus();
  await otherPage.run("echo uninvited");
  await page.focus();
  await page.run("echo mine-$((20+5))");
  await page.waitForText("mine-25");
  assert(!(await page.screenText()).includes("uninvited"));
}

async function seeDoctor() {
  const answer = mine.page.waitForResponse((response) => response.url().includes("/doctor/"));
  await mine.page.getByRole("tab", { name: "Devices" }).click();
  await mine.page.getByRole("button", { name: `Check the way to ${options.device}` }).click();
  const { chain } = await (await answer).json();
  const dialog = mine.page.getByRole("dialog", { name: `What about ${options.device}?` });
  await dialog.getByText(/the device can be opened/i).waitFor();
  const shown = await dialog.locator("li").evaluateAll((items) => items.map((item) => [item.dataset.check, item.dataset.verdict, item.textContent]));
  assert.deepEqual(shown.map(([check]) => check), chain.map((one) => one.check));
  for (const [index, [, verdict, text]] of shown.entries()) {
    assert.equal(verdict, chain[index].ok === null ? "unknown" : chain[index].ok ? "holds" : "broken");
    assert(text.includes(chain[index].detail), text);
  }
  await controlsHaveNames(mine.page);
  await mine.page.keyboard.press("Escape");
}

async function endSession() {
  await mine.page.getByRole("tab", { name: new RegExp(`^${options.device}`) }).click();
  await other.page.getByRole("tab", { name: "Sessions" }).click();
  await sessionRow(other.page).getByRole("button", { name: /^End/ }).click();
  await other.page.getByRole("dialog").getByRole("button", { name: "End it" }).click();
  await mine.page.getByText("The session was ended.", { exact: true }).waitFor();
  await sessionRow(other.page).waitFor({ state: "detached" });
}

async function playBack() {
  await other.page.getByRole("checkbox", { name: "Also those that ended" }).check();
  await sessionRow(other.page).filter({ hasText: "Ended: somebody ended it" }).getByRole("button", { name: /^Play/ }).click();
  const pause = other.page.getByRole("button", { name: "Pause" });
  await pause.waitFor();
  await other.page.getByRole("combobox", { name: "Speed" }).selectOption("8");
  await otherPage.waitForText("together-24");
  await other.page.getByRole("button", { name: "Play", exact: true }).waitFor();
}

async function searchRecording() {
  await other.page.getByRole("searchbox", { name: "Search in the output" }).fill("during-22");
  await other.page.keyboard.press("Enter");
  await other.page.getByText(/^Place 1 of 1, at /).waitFor();
  await otherPage.waitForText("during-22");
  assert(!(await otherPage.screenText()).includes("together-24"), "what came later is not there yet");
  await other.page.getByRole("searchbox", { name: "Search in the output" }).fill("no such words");
  await other.page.keyboard.press("Enter");
  await other.page.getByText("Not found", { exact: true }).waitFor();
}

async function seekByKeyboard() {
  const slider = other.page.getByRole("slider", { name: "Position in the recording" });
  await slider.focus();
  await other.page.keyboard.press("Home");
  await otherPage.waitFor(async () => !(await otherPage.screenText()).includes("before-21"), "an empty screen");
  assert.match(await slider.getAttribute("aria-valuetext"), /^0:00 of \d+:\d\d$/);
  await other.page.keyboard.press("End");
  await otherPage.waitForText("mine-25");
}

/** A terminal takes every key; one that nobody types in gives Tab back. */
async function walkByTab() {
  const reached = new Set();
  await other.page.getByRole("button", { name: "Play", exact: true }).focus();
  for (let presses = 0; presses < 25; presses += 1) {
    await other.page.keyboard.press("Tab");
    reached.add(await other.page.evaluate(() => document.activeElement.getAttribute("aria-label") ?? document.activeElement.textContent));
  }
  for (const one of ["Position in the recording", "Speed", "Search in the output", "Next place", "Log out", "Terminal of the recording"]) {
    assert(reached.has(one), `${one} is not among ${[...reached]}`);
  }
  await other.page.getByRole("textbox", { name: "Terminal of the recording" }).focus();
  await other.page.keyboard.press("Control+Shift+ArrowUp");
  assert.match(await other.page.evaluate(() => document.activeElement.textContent), /^Recording /);
}

async function namesEverywhere() {
  await controlsHaveNames(mine.page);
  await controlsHaveNames(other.page);
}
