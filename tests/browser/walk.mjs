// What every walk through the page has in common: its options, the way in, and one line a step.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

/** Reads the command line of a walk: `--url`, `--username` and `--password-file` have to be there. */
export function readOptions({ allowPositionals = false } = {}) {
  const { values, positionals } = parseArgs({
    allowPositionals,
    options: {
      url: { type: "string" },
      username: { type: "string" },
      "password-file": { type: "string" },
      device: { type: "string" },
      screenshot: { type: "string", default: join(tmpdir(), "browser-test-failed.png") },
      chromium: { type: "string", default: "/usr/bin/chromium" },
    },
  });
  for (const needed of ["url", "username", "password-file"]) {
    assert(values[needed] !== undefined, `--${needed} is missing`);
  }
  return { ...values, positionals };
}

/** Takes the steps one after the other, prints a line for each, and stops at the first that fails. */
export async function walk(steps, { tabs, errors, screenshot }) {
  for (const [name, step] of steps) {
    const started = performance.now();
    try {
      await step();
      console.log(`ok    ${name} (${Math.round(performance.now() - started)} ms)`);
    } catch (error) {
      process.exitCode = 1;
      console.log(`FAIL  ${name}\n${error.stack}`);
      console.log(`      console errors: ${JSON.stringify(errors)}`);
      for (const [index, tab] of tabs().entries()) {
        const file = screenshot.replace(/(\.\w+)?$/, `-${index + 1}$1`);
        await tab.screenshot({ path: file }).catch(() => {});
        console.log(`      screenshot: ${file}`);
      }
      return;
    }
  }
}

/** Fills in the issuer's form, wherever it is shown. */
export async function fillLogin(tab, options) {
  await tab.locator('input[name="username"]').fill(options.username);
  await tab.locator('input[name="password"]').fill(readFileSync(options["password-file"], "utf8").trim());
  await tab.locator('button[type="submit"], input[type="submit"]').press("Enter");
}

/** Opens the page and logs in. */
export async function logIn(tab, options, url = options.url) {
  await tab.goto(url);
  await tab.getByRole("button", { name: "Log in" }).press("Enter");
  await fillLogin(tab, options);
  await tab.getByRole("heading", { name: "Devices" }).waitFor();
  assert(!tab.url().includes("code="), "the code is gone from the address bar");
}

/** The first device of the list that is online and may be opened. */
export async function findDevice(tab, options) {
  const row = tab.locator(options.device === undefined ? "tr[data-device]" : `tr[data-device="${options.device}"]`);
  // A device that was just enrolled needs a moment for its first handshake.
  const online = row.filter({ hasText: "Online" }).filter({ has: tab.getByRole("button", { name: /^Open/ }) }).first();
  await online.waitFor({ timeout: 60_000 });
  assert.match(await online.innerText(), /just now|\d+ (s|min) ago/);
  return online.getAttribute("data-device");
}

/** Everything that a person can act on has a name that a screen reader can say, and no order of its own. */
export async function controlsHaveNames(tab) {
  const session = await tab.context().newCDPSession(tab);
  const { nodes } = await session.send("Accessibility.getFullAXTree");
  await session.detach();
  const roles = ["button", "textbox", "searchbox", "checkbox", "combobox", "slider", "tab", "link", "dialog", "table", "tabpanel"];
  const nameless = nodes.filter((node) => !node.ignored && roles.includes(node.role?.value) && !node.name?.value?.trim());
  assert.deepEqual(nameless.map((node) => node.role.value), [], "controls without a name");
  const orders = await tab.locator("[tabindex]").evaluateAll((elements) => elements.map((element) => element.tabIndex));
  // xterm.js gives its own layers an order of 0 or less; nothing jumps the queue.
  assert(orders.every((order) => order <= 0), `a control jumps the queue: ${orders}`);
}
