// The terminal in another site's frame, as ThingsBoard's widget shows it: silent login first, then a window of its own.
//
//   node tests/browser/frame.mjs --url http://127.0.0.1:8888 --username demo --password-file FILE
//
// The proxy has to allow the sites 127.0.0.1 and localhost, and no other.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { openBrowser } from "./browser.mjs";
import { TerminalPage } from "./terminal-page.mjs";
import { fillLogin, findDevice, logIn, readOptions, walk } from "./walk.mjs";

const options = readOptions();
const STEPS = [
  ["finds a device", findOne],
  ["asks the issuer silently, and offers the login when that says no", offerLogin],
  ["logs in by a window of its own, and the terminal opens in the frame", logInByWindow],
  ["does so where the browser keeps nothing for a frame of another site", withoutStorage],
  ["types in the frame", typeCommand],
  ["shows one device's terminal and nothing else", nothingElse],
  ["says so when the login window is closed too early", closeWindow],
  ["is shown on no site that is not named in the settings", stayOut],
  ["met no console error and no violation of the content security policy", () => assert.deepEqual(errors, [])],
];

const dashboard = createServer((request, response) => {
  response.setHeader("content-type", "text/html");
  response.end(`<!doctype html><title>Dashboard</title><iframe width="1000" height="600" allow="clipboard-read; clipboard-write" src="${options.url}/ui/terminal/${options.device}"></iframe>`);
});
await new Promise((resolve) => dashboard.listen(0, resolve));
const { port } = dashboard.address();
const { browser, page: tab, errors } = await openBrowser(options.chromium, options.url);
const frame = tab.frameLocator("iframe");
const page = new TerminalPage(tab, frame);
await walk(STEPS, { tabs: () => tab.context().pages(), errors, screenshot: options.screenshot });
await browser.close();
dashboard.closeAllConnections();
dashboard.close();

async function findOne() {
  await logIn(tab, options);
  options.device = await findDevice(tab, options);
}

/** Another port of the same machine is another origin of the same site. */
async function offerLogin() {
  const silent = tab.waitForRequest((request) => request.url().includes("prompt=none"));
  await tab.goto(`http://127.0.0.1:${port}/`);
  await silent;
  await frame.getByRole("button", { name: "Log in" }).waitFor();
  assert.equal(await frame.getByRole("alert").count(), 0, "nothing went wrong");
}

async function openWindow() {
  const opened = tab.waitForEvent("popup");
  await frame.getByRole("button", { name: "Log in" }).click();
  return opened;
}

async function logInByWindow() {
  const window = await openWindow();
  const closed = window.waitForEvent("close");
  await fillLogin(window, options);
  await closed;
  await frame.getByText("Connected", { exact: true }).waitFor();
}

/** `localhost` is another site than `127.0.0.1`. */
async function withoutStorage() {
  await tab.goto(`http://localhost:${port}/`);
  await logInByWindow();
}

async function typeCommand() {
  await page.waitForPrompt();
  await page.focus();
  await page.run("echo framed-$((30+3))");
  await page.waitForText("framed-33");
}

async function nothingElse() {
  assert.equal(await frame.getByRole("tab").count(), 0);
  assert.equal(await frame.getByRole("button", { name: "Log out" }).count(), 0);
}

async function closeWindow() {
  await tab.reload();
  const window = await openWindow();
  await window.locator('input[name="username"]').waitFor();
  await window.close();
  await frame.getByRole("alert").getByText("The login window was closed").waitFor();
}

async function stayOut() {
  const refusal = tab.waitForEvent("console", (message) => message.text().includes("frame-ancestors"));
  await tab.goto(`http://elsewhere.localhost:${port}/`);
  await refusal;
  assert.equal(await frame.getByRole("button").count(), 0);
}
