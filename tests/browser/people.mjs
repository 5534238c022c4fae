// Several people, each in a browser of their own, who do what they are told: a line of JSON on standard input says who
// does what with what, a line on standard output says what came of it. `tests/src/scenarios/terminal` tells them.
//
//   node tests/browser/people.mjs LOG     (what their browsers complained about; beside it a picture of every failure)

import assert from "node:assert/strict";
import { appendFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { openBrowser } from "./browser.mjs";
import { TerminalPage } from "./terminal-page.mjs";

const CHROMIUM = "/usr/bin/chromium";
const log = process.argv[2];
writeFileSync(log, "");
const people = new Map();

class Person {
  constructor({ browser, page, errors }) {
    this.browser = browser;
    this.tab = page;
    this.errors = errors;
    this.page = new TerminalPage(page);
  }

  async logIn(url, username, password) {
    this.login = { username, password };
    await this.tab.goto(url);
    await this.tab.getByRole("button", { name: "Log in" }).click();
    await this.fillForm(this.tab);
    await this.tab.getByRole("heading", { name: "Devices" }).waitFor();
  }

  async fillForm(tab) {
    await tab.locator('input[name="username"]').fill(this.login.username);
    await tab.locator('input[name="password"]').fill(this.login.password);
    await tab.locator('input[name="password"]').press("Enter");
  }

  async seesDevice(device) {
    await this.row(device).filter({ hasText: "Online" }).waitFor({ timeout: 60_000 });
  }

  row(device) {
    return this.tab.locator(`tr[data-device="${device}"]`);
  }

  async openDevice(device) {
    await this.row(device).getByRole("button", { name: /^Open/ }).click();
    await this.connected();
    await this.page.waitForPrompt();
    await this.page.focus();
  }

  connected(timeout = 60_000) {
    return this.tab.getByText("Connected", { exact: true }).waitFor({ timeout });
  }

  async run(command) {
    await this.page.focus();
    await this.page.run(command);
  }

  sees(text) {
    return this.page.waitForText(text);
  }

  async seesNot(text) {
    assert(!(await this.page.screenText()).includes(text), `«${text}» is on the screen`);
  }

  async deviceSize() {
    await this.page.focus();
    return this.page.deviceSize("size");
  }

  resize(width, height) {
    return this.tab.setViewportSize({ width, height });
  }

  async waitForSmallerDevice(columns, rows) {
    await this.page.waitFor(async () => {
      const now = await this.deviceSize();
      return now.columns < columns && now.rows < rows;
    }, "a smaller terminal on the device");
  }

  /** The issuer knows this browser: nothing is asked on the way back. */
  async reload() {
    await this.tab.reload();
    await this.connected();
  }

  async share() {
    await this.tab.getByRole("button", { name: "Share", exact: true }).click();
    const dialog = this.tab.getByRole("dialog", { name: "Others may type along" });
    const link = await dialog.getByRole("textbox", { name: "Link to this session" }).inputValue();
    await this.tab.keyboard.press("Escape");
    return link;
  }

  stopSharing() {
    return this.tab.getByRole("button", { name: "Stop sharing" }).click();
  }

  async join(link) {
    await this.tab.goto("about:blank");
    await this.tab.goto(link);
    await this.tab.locator(".connection-state").getByText("Connected, you may type", { exact: true }).waitFor();
  }

  async watch(whose) {
    await this.tab.getByRole("tab", { name: "Sessions" }).click();
    const row = this.tab.locator("tr[data-session]").filter({ hasText: whose }).filter({ hasText: "Open" }).first();
    await row.getByRole("button", { name: /^Watch/ }).click();
    await this.tab.locator(".connection-state").getByText("Watching", { exact: true }).waitFor();
  }

  seesUpdate(isShown) {
    return this.tab.getByText("An update is running on this device.").waitFor({ state: isShown ? "visible" : "hidden" });
  }

  async opensFrame(address) {
    this.dashboard = createServer((request, response) => {
      response.setHeader("content-type", "text/html");
      response.end(`<!doctype html><title>Dashboard</title><iframe width="1000" height="600" src="${address}"></iframe>`);
    });
    await new Promise((resolve) => this.dashboard.listen(0, "127.0.0.1", resolve));
    this.frameTab = await this.tab.context().newPage();
    this.frameTab.on("popup", () => (this.asked = true));
    await this.frameTab.goto(`http://localhost:${this.dashboard.address().port}/`);
    const frame = this.frameTab.frameLocator("iframe");
    await frame.getByText("Connected", { exact: true }).waitFor({ timeout: 60_000 });
    assert(!this.asked, "a window was opened");
    this.framePage = new TerminalPage(this.frameTab, frame);
    await this.framePage.waitForPrompt();
  }

  async framePrints(command, output) {
    await this.framePage.focus();
    await this.framePage.run(command);
    await this.framePage.waitForText(output);
  }

  async closesFrame() {
    await this.frameTab.close();
    this.dashboard.closeAllConnections();
    this.dashboard.close();
  }

  async comesBack() {
    await this.connected(60_000);
  }

  /** Types until the page says that it is over; returns after how many seconds. */
  async typesUntilTheEnd(within) {
    const began = performance.now();
    const over = this.tab.locator('.terminal[data-state="ended"]');
    while ((await over.count()) === 0) {
      assert((performance.now() - began) / 1000 < within, `still typing after ${within} s`);
      await this.page.focus();
      await this.page.run("true");
      await this.tab.waitForTimeout(500);
    }
    const seconds = Math.round((performance.now() - began) / 1000);
    return { seconds, notice: await this.tab.locator(".notice p").innerText() };
  }

  picture(file) {
    return this.tab.screenshot({ path: file });
  }

  async close() {
    for (const error of this.errors) {
      appendFileSync(log, `${error}\n`);
    }
    await this.browser.close();
  }
}

/** The page's own origin is known only when it is opened, so nothing is allowed beforehand. */
async function person(who, url) {
  if (!people.has(who)) {
    people.set(who, new Person(await openBrowser(CHROMIUM, url)));
  }
  return people.get(who);
}

for await (const line of createInterface({ input: process.stdin })) {
  const { who, do: what, with: parameters } = JSON.parse(line);
  let answer;
  try {
    const someone = await person(who, parameters[0]);
    answer = { came: (await someone[what](...parameters)) ?? null };
    if (what === "close") {
      people.delete(who);
    }
  } catch (error) {
    answer = { failed: error.stack };
    await people.get(who)?.picture(`${log}-${who}.png`).catch(() => {});
  }
  console.log(JSON.stringify(answer));
}
for (const someone of people.values()) {
  await someone.close();
}
