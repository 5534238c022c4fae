// Uses a device's terminal on a phone: no Esc, no Tab, no Ctrl, no arrows on its keyboard.
//
//   node tests/browser/phone.mjs --url http://127.0.0.1:8888 --username demo --password-file FILE

import assert from "node:assert/strict";
import { openBrowser } from "./browser.mjs";
import { TerminalPage } from "./terminal-page.mjs";
import { controlsHaveNames, findDevice, logIn, readOptions, walk } from "./walk.mjs";

const options = readOptions();
const STEPS = [
  ["opens a device on a phone", openDevice],
  ["sees the keys that its keyboard lacks, large enough for a finger", seeKeys],
  ["stops a program with Ctrl and C", stopProgram],
  ["takes the last command back with an arrow", takeBack],
  ["completes a word with Tab", completeWord],
  ["leaves an editor with Esc", leaveEditor],
  ["puts the keys away, also for the next visit", putAway],
  ["has a name for everything that can be pressed", () => controlsHaveNames(tab)],
  ["met no console error", () => assert.deepEqual(errors, [])],
];

const phone = { viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true };
const { browser, page: tab, errors } = await openBrowser(options.chromium, options.url, phone);
const page = new TerminalPage(tab);
const key = (name) => tab.getByRole("group", { name: "Keys" }).getByRole("button", { name, exact: true });
await walk(STEPS, { tabs: () => [tab], errors, screenshot: options.screenshot });
await browser.close();

async function openDevice() {
  await logIn(tab, options);
  const device = await findDevice(tab, options);
  await tab.locator(`tr[data-device="${device}"]`).getByRole("button", { name: /^Open/ }).tap();
  await page.waitForPrompt();
  // Not every device's first shell remembers commands and completes words.
  await page.focus();
  await page.run("exec bash --norc");
  await page.waitForText("bash-");
}

async function seeKeys() {
  const box = await key("Escape").boundingBox();
  assert(box.width >= 40 && box.height >= 40, JSON.stringify(box));
}

async function stopProgram() {
  await page.focus();
  await page.run("sleep 300; echo slept-$((1+1))");
  await key("Ctrl, for the next key").tap();
  assert.equal(await key("Ctrl, for the next key").getAttribute("aria-pressed"), "true");
  assert.equal(await tab.evaluate(() => document.activeElement.tagName), "TEXTAREA", "the keyboard stays");
  await tab.keyboard.type("c");
  await page.waitForText("^C");
  await page.run("echo stopped-$((3+4))");
  await page.waitForText("stopped-7");
  assert(!(await page.screenText()).includes("slept-2"));
}

async function takeBack() {
  await page.run("clear; echo once-$((5+5))");
  await page.waitForText("once-10");
  await page.waitForPrompt();
  await key("Arrow up").tap();
  await page.waitFor(async () => (await page.screenText()).split("echo once-").length === 2, "the command again");
  await tab.keyboard.press("Enter");
  await page.waitForPrompt();
}

async function completeWord() {
  await page.run("clear; cd /");
  await page.waitForPrompt();
  await tab.keyboard.type("ls etc/hostna");
  await key("Tab").tap();
  // A narrow screen breaks lines.
  await page.waitFor(async () => (await page.screenText()).replaceAll("\n", "").includes("ls etc/hostname"), "the whole word");
  await key("Ctrl, for the next key").tap();
  await tab.keyboard.type("u");
}

/** `read` ends at the Esc that arrives. */
async function leaveEditor() {
  await page.run("clear; read -rsn1 key; printf 'got-%d.\\n' \"'$key\"");
  await key("Escape").tap();
  await page.waitForText("got-27.");
}

async function putAway() {
  await tab.getByRole("button", { name: "Keys that this keyboard lacks" }).tap();
  await tab.getByRole("group", { name: "Keys" }).waitFor({ state: "hidden" });
  assert.equal(await tab.evaluate(() => JSON.parse(localStorage.getItem("iot-bridge.preferences")).phoneKeys), false);
}
