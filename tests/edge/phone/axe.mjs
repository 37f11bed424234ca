// Looks at pages with axe-core in headless Chromium, at three sizes, light and dark. Argument: JSON { program, pages }:
// the browser, and name -> address of each page.
// Standard output: JSON, name-size-theme -> { violations, overflow }: what axe found, and by how many pixels the page is
// wider than the window.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

import { chromium } from "playwright-core";

import { CHROMIUM_ARGUMENTS, config, watch } from "./visit.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const SIZES = { 1280: 900, 768: 1024, 390: 844 };

const at = watch();
const browser = await chromium.launch({ executablePath: config.program, args: CHROMIUM_ARGUMENTS });
const seen = {};
for (const [name, address] of Object.entries(config.pages)) {
  for (const colorScheme of ["light", "dark"]) {
    const page = await browser.newPage({ colorScheme, bypassCSP: true });
    at.stage = `${name} ${colorScheme}`;
    // the live video never ends
    await page.goto(address, { waitUntil: "domcontentloaded" });
    await page.waitForTimeout(1000);
    await page.evaluate(axe);
    for (const [width, height] of Object.entries(SIZES)) {
      await page.setViewportSize({ width: Number(width), height });
      const { violations } = await page.evaluate(() => globalThis.axe.run());
      const overflow = await page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      seen[`${name}-${width}-${colorScheme}`] = {
        violations: violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`), overflow,
      };
    }
    await page.close();
  }
}
await browser.close();
console.log(JSON.stringify(seen));
process.exit(0);
