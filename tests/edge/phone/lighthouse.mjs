// Runs Lighthouse on the served page in headless Chromium. Argument: JSON { server, program }: the server's command
// line, and the browser. Standard output: JSON { scores, findings, warnings }.

import lighthouse from "lighthouse";
import puppeteer from "puppeteer-core";

import { CHROMIUM_ARGUMENTS, config, finish, serve, watch } from "./visit.mjs";

const FLAGS = {
  onlyCategories: ["accessibility", "best-practices", "seo"], throttlingMethod: "provided", logLevel: "error",
};

const at = watch();
const server = await serve();
at.stage = "browser";
const browser = await puppeteer.launch({ executablePath: config.program, args: CHROMIUM_ARGUMENTS });
at.stage = "lighthouse";
const { lhr } = await lighthouse(server.address, FLAGS, undefined, await browser.newPage());
await browser.close();
const findings = Object.values(lhr.audits).filter(
  ({ score, scoreDisplayMode }) => scoreDisplayMode === "error" || (score !== null && score < 1));
finish({
  scores: Object.fromEntries(Object.values(lhr.categories).map(({ id, score }) => [id, score])),
  findings: findings.map(({ id, explanation, errorMessage, details }) => (
    [id, explanation, errorMessage, JSON.stringify(details?.items)].filter(Boolean).join(": "))),
  warnings: lhr.runWarnings,
});
