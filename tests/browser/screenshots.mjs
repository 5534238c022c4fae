// Takes the documents' pictures of the page. `docs/screenshots/make` starts a quickstart with a few devices and runs it.
//
//   node tests/browser/screenshots.mjs --url http://127.0.0.1:8888 --username demo --password-file FILE FOLDER

import { join } from "node:path";
import { openBrowser } from "./browser.mjs";
import { TerminalPage } from "./terminal-page.mjs";
import { findDevice, logIn, readOptions } from "./walk.mjs";

const options = readOptions({ allowPositionals: true });
const [folder] = options.positionals;
const mine = await openBrowser(options.chromium, options.url, { viewport: { width: 1180, height: 640 } });
const page = new TerminalPage(mine.page);
const picture = (name, tab = mine.page) => tab.screenshot({ path: join(folder, `${name}.png`) });

await logIn(mine.page, options);
options.device = await findDevice(mine.page, options);
await picture("console");

await mine.page.locator(`tr[data-device="${options.device}"]`).getByRole("button", { name: /^Open/ }).click();
await page.waitForPrompt();
await page.focus();
await page.run("PS1='$ '; clear; echo I am ${TTYD_USER:-somebody}; ls -l --color=always /usr; date -u");
await page.waitForText("UTC");
await page.waitForPrompt();
await picture("terminal");

const answer = mine.page.waitForResponse((response) => response.url().includes("/doctor/"));
await mine.page.getByRole("tab", { name: "Devices" }).click();
await mine.page.getByRole("button", { name: `Check the way to ${options.device}` }).click();
await answer;
await mine.page.locator(".chain").waitFor();
await picture("doctor");
await mine.page.keyboard.press("Escape");

await mine.page.getByRole("tab", { name: "Sessions" }).click();
const row = mine.page.locator("tr[data-session]").first();
await row.waitFor();
await picture("sessions");
await row.getByRole("button", { name: /^Play/ }).click();
await mine.page.getByRole("button", { name: "Play", exact: true }).waitFor();
await mine.page.getByRole("searchbox", { name: "Search in the output" }).fill("share");
await mine.page.keyboard.press("Enter");
await mine.page.getByText(/^Place 1 of/).waitFor();
await picture("playback");
await mine.browser.close();

const phone = await openBrowser(options.chromium, options.url, { viewport: { width: 390, height: 720 }, hasTouch: true, isMobile: true });
const onPhone = new TerminalPage(phone.page);
await logIn(phone.page, options);
await phone.page.locator(`tr[data-device="${options.device}"]`).getByRole("button", { name: /^Open/ }).tap();
await onPhone.waitForPrompt();
await onPhone.focus();
await onPhone.run("PS1='$ '; clear; cd /; ls -d e*; echo it_works");
await onPhone.waitForText("it_works");
await onPhone.waitForPrompt();
await picture("phone", phone.page);
await phone.browser.close();
