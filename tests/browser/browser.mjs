import { chromium } from "playwright-core";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** A fresh Chromium with one tab, and the list of everything that went wrong in our own pages. */
export async function openBrowser(executablePath, url, device = { viewport: { width: 1280, height: 800 } }) {
  const browser = await chromium.launch({ executablePath, args: FLAGS, headless: true });
  const context = await browser.newContext(device);
  const { origin } = new URL(url);
  await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const errors = [];
  // Chromium reports violations of the content security policy here as well.
  page.on("console", (message) => {
    if (message.type() === "error" && page.url().startsWith(origin)) {
      errors.push(message.text());
    }
  });
  page.on("pageerror", (error) => errors.push(String(error)));
  return { browser, page, errors };
}
