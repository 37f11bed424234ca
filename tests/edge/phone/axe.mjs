// Looks at a page with axe-core in headless Chromium, at some widths, light and dark. Argument: JSON { program, name,
// address, widths }: the browser, and the page.
// Standard output: JSON. Its keys are name-width-theme, and its values { violations, overflow }: what axe found, and by
// how many pixels the page is wider than the window.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

import { chromium } from "playwright-core";

import { CHROMIUM_ARGUMENTS, config, watch } from "./visit.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const HEIGHT = 900;

const at = watch();
const browser = await chromium.launch({ executablePath: config.program, args: CHROMIUM_ARGUMENTS });
const seen = {};
for (const colorScheme of ["light", "dark"]) {
  const page = await browser.newPage({ colorScheme, bypassCSP: true });
  at.stage = `${config.name} ${colorScheme}`;
  // the live video never ends, so the load of the page does not end either
  await page.goto(config.address, { waitUntil: "domcontentloaded" });
  await page.waitForTimeout(1000);
  await page.evaluate(axe);
  for (const width of config.widths) {
    await page.setViewportSize({ width: Number(width), height: HEIGHT });
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    const overflow = await page.evaluate(
      () => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    seen[`${config.name}-${width}-${colorScheme}`] = {
      violations: violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`), overflow,
    };
  }
}
await browser.close();
console.log(JSON.stringify(seen));
process.exit(0);
