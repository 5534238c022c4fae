// Walks through the running platform of deploy/docker-compose.yml as its first person does, in a real Chromium that
// trusts the platform's own root. Prints one line a step; the first step that fails ends it with 1.
//
//   node tests/browser/platform.mjs terminal|widget|align|decommission --domain iot.localhost --device ID
//     --password-file FILE --new-password-file FILE --widget deploy/thingsboard/terminal-widget.json
//     [--screenshots FOLDER] [--port 443] [--chromium /usr/bin/chromium]
//
//   terminal      landing page, login, the list of devices, a shell
//   widget        a shell in a frame on ThingsBoard's origin, as its widget opens it, with a silent login
//   align         has the bridge tell every system again what it should have
//   decommission  takes the device out of service
//
// A password file that is not the new one is that of the first login, which asks for the new one.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openBrowser } from "./browser.mjs";
import { TerminalPage } from "./terminal-page.mjs";

const { values: options, positionals: [walk] } = parseArgs({
  allowPositionals: true,
  options: {
    domain: { type: "string" },
    port: { type: "string", default: "443" },
    "password-file": { type: "string" },
    "new-password-file": { type: "string" },
    device: { type: "string" },
    widget: { type: "string" },
    screenshots: { type: "string", default: join(tmpdir(), "platform-screenshots") },
    chromium: { type: "string", default: "/usr/bin/chromium" },
  },
});
for (const needed of ["domain", "password-file", "new-password-file", "device", "widget"]) {
  assert(options[needed] !== undefined, `--${needed} is missing`);
}
const port = options.port === "443" ? "" : `:${options.port}`;
const place = (name) => `https://${name === "" ? "" : `${name}.`}${options.domain}${port}`;
const secret = (name) => readFileSync(options[name], "utf8").trim();

const WALKS = {
  terminal: [
    ["sees the device online", seeDevice],
    ["opens a shell on it", openShell],
    ["types a command and reads its output", typeCommand],
    ["is known by name on the device", readName],
  ],
  widget: [
    ["opens ThingsBoard's place, and the frame asks the login silently", openDashboard],
    ["has a shell in the frame", useFrame],
  ],
  align: [["has the bridge bring every system in line", align]],
  decommission: [
    ["sees the device online", seeDevice],
    ["takes the device out of service", decommission],
    ["is refused its terminal", beRefused],
  ],
};
assert(walk in WALKS, `a walk is one of ${Object.keys(WALKS).join(", ")}`);
const STEPS = [
  ["opens the landing page", openLandingPage],
  ["follows its link to the terminals and logs in", logIn],
  ...WALKS[walk],
];

mkdirSync(options.screenshots, { recursive: true });
const { browser, page: tab } = await openBrowser(options.chromium, place("terminal"));
const page = new TerminalPage(tab);
// The access token that the page sends; it is good for both services.
let bearer;
tab.on("request", (request) => {
  bearer = request.headers().authorization ?? bearer;
});
const picture = (name) => tab.screenshot({ path: join(options.screenshots, `${name}.png`) });
for (const [name, step] of STEPS) {
  const started = performance.now();
  try {
    await step();
    console.log(`ok    ${name} (${Math.round(performance.now() - started)} ms)`);
  } catch (error) {
    console.log(`FAIL  ${name}\n${error.stack}`);
    await picture("failed");
    process.exitCode = 1;
    break;
  }
}
await browser.close();

async function openLandingPage() {
  await tab.goto(`${place("")}/`);
  await tab.getByRole("heading", { name: "iot-bridge" }).waitFor();
  await picture("landing");
}

async function logIn() {
  await tab.getByRole("link", { name: /^Terminals/ }).click();
  await tab.getByRole("button", { name: "Log in" }).click();
  await tab.locator('input[name="username"]').fill("operator");
  await tab.locator('input[name="password"]').fill(secret("password-file"));
  await picture("login");
  await tab.locator('input[name="password"]').press("Enter");
  const devices = tab.getByRole("heading", { name: "Devices" });
  if (options["password-file"] !== options["new-password-file"]) {
    // The first password is good for one login.
    const another = tab.locator('input[name="password-new"]');
    await another.waitFor();
    await another.fill(secret("new-password-file"));
    await tab.locator('input[name="password-confirm"]').fill(secret("new-password-file"));
    await tab.locator('input[name="password-confirm"]').press("Enter");
  }
  await devices.waitFor();
}

async function seeDevice() {
  const row = tab.locator(`tr[data-device="${options.device}"]`).filter({ hasText: "Online" });
  await row.waitFor({ timeout: 60_000 });
  await picture("console");
}

async function openShell() {
  await tab.locator(`tr[data-device="${options.device}"]`).getByRole("button", { name: /^Open/ }).click();
  await tab.getByText("Connected", { exact: true }).waitFor();
  await page.waitForPrompt();
}

async function typeCommand() {
  await page.focus();
  await page.run("echo $((6*7))-platform; uname -sr; ls -l /proc/self/fd | head -3");
  await page.waitForText("42-platform");
  await picture("terminal");
}

/**
 * ThingsBoard's server cannot be had everywhere, so its place gets this page: with the widget, run as ThingsBoard runs it.
 * The origin, the frame, the login and the policy that names this origin are those of the platform.
 */
async function openDashboard() {
  const { descriptor } = JSON.parse(readFileSync(options.widget, "utf8"));
  const settings = { proxyUrl: place("terminal") };
  const body = `<!doctype html><title>Device</title>
    <style>html, body, #widget { height: 100%; margin: 0; } ${descriptor.templateCss}</style>
    <div id="widget">${descriptor.templateHtml}</div>
    <script>
      const found = [...document.querySelectorAll("#widget iframe")];
      found.attr = (name, value) => found.forEach((one) => one.setAttribute(name, value));
      const datasources = [{ entityType: "DEVICE", entityName: ${JSON.stringify(options.device)} }];
      window.widget = { ctx: { datasources, settings: ${JSON.stringify(settings)}, $container: { find: () => found } } };
      new Function("self", ${JSON.stringify(descriptor.controllerScript)})(window.widget);
      window.widget.onInit();
    </script>`;
  await tab.goto(`${place("things")}/api/noauth/oauth2Clients`);
  const silent = tab.waitForRequest((request) => request.url().includes("prompt=none"));
  await tab.setContent(body);
  await silent;
}

async function useFrame() {
  const frame = tab.frameLocator("iframe");
  await frame.getByText("Connected", { exact: true }).waitFor();
  const framed = new TerminalPage(tab, frame);
  await framed.waitForPrompt();
  await framed.focus();
  await framed.run("echo $((6*7))-framed-$TTYD_USER.");
  await framed.waitForText("42-framed-operator.");
  await picture("widget");
  // The widget goes, and its session with it.
  await tab.evaluate(() => window.widget.onDestroy());
}

async function align() {
  const { status, text } = await call("api", "POST", "/drift/apply");
  assert(status >= 200 && status < 300, `${status} ${text}`);
  console.log(`      ${text}`);
}

async function readName() {
  await page.run("echo I-am-$TTYD_USER.");
  await page.waitForText("I-am-operator.");
}

/** Calls a service from a page of its own origin, as a script of the person's would. */
async function call(name, method, path, body) {
  await tab.goto(`${place(name)}/livez`);
  return tab.evaluate(
    async ([method, path, authorization, body]) => {
      const headers = { authorization, "content-type": "application/json" };
      const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
      return { status: answer.status, text: await answer.text() };
    },
    [method, path, bearer, body],
  );
}

async function decommission() {
  const { status, text } = await call("api", "DELETE", `/devices/${options.device}`);
  assert(status >= 200 && status < 300, `${status} ${text}`);
  console.log(`      ${text}`);
}

async function beRefused() {
  const { status, text } = await call("terminal", "POST", "/terminal/tickets", { device_id: options.device });
  assert.equal(status, 404, text);
}
