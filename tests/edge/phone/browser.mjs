// A visit of the page in headless Chromium. Argument: JSON { server, chromium, video, pictures, shots }: the
// server's command line, the browser, a y4m for the camera, PNGs to classify, and a folder for screenshots.
// Standard output: JSON of what was seen.

import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { chromium } from "playwright-core";

const config = JSON.parse(process.argv[2]);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const ARGUMENTS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--use-fake-ui-for-media-stream",
  "--use-fake-device-for-media-stream", `--use-file-for-fake-video-capture=${config.video}`,
];
const LIMIT_MS = 150_000;
const PHONE = { width: 390, height: 844 };

// Whatever waits for ever ends here, says where, and may be tried again.
const HUNG = 75;
let stage = "server";
setTimeout(() => {
  console.error(`still at '${stage}' after ${LIMIT_MS} ms`);
  server.kill();
  process.exit(HUNG);
}, LIMIT_MS);

const server = spawn(config.server[0], config.server.slice(1), { stdio: ["ignore", "pipe", "inherit"] });
const gone = new Promise((resolve) => { server.once("exit", resolve); });
const line = await new Promise((resolve) => { createInterface(server.stdout).once("line", resolve); });
stage = "browser";
const address = line.split(" ")[0];
const profile = await mkdtemp(join(tmpdir(), "profile-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: config.chromium, args: ARGUMENTS, viewport: PHONE, acceptDownloads: true,
  serviceWorkers: "allow", permissions: ["camera"],
});

const seen = { foreign: [], breaches: [], errors: [], axe: {}, overflow: {} };
context.on("request", (request) => {
  if (!/^(blob:|data:)/.test(request.url()) && !request.url().startsWith(address)) seen.foreign.push(request.url());
});
// the browser's own log has breaches of workers too
context.on("console", (message) => {
  if (/Content Security Policy/i.test(message.text())) seen.breaches.push(message.text());
});
context.on("weberror", ({ error }) => seen.errors.push(String(error())));
context.on("dialog", (dialog) => dialog.accept());

const page = context.pages()[0];
await page.addInitScript(() => {
  globalThis.breaches = [];
  addEventListener("securitypolicyviolation", (event) => globalThis.breaches.push(event.blockedURI));
});

const title = () => page.locator("#title").textContent();

async function answered(timeout = 30_000) {
  await page.waitForFunction(() => / \d+ %$/.test(document.querySelector("#title").textContent), null, { timeout });
  return title();
}

async function scan(name) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  seen.axe[name] = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
}

async function shoot(name, size) {
  await page.setViewportSize(size);
  seen.overflow[name] = await page.evaluate(
    () => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  await page.screenshot({ path: join(config.shots, `${name}.png`) });
}

// The levels of pictures, by a worker of our own.
async function classify(paths) {
  const pictures = paths.map((path) => readFileSync(path).toString("base64"));
  return page.evaluate(async (encoded) => {
    const worker = new Worker("worker.js");
    const said = () => new Promise((resolve) => { worker.onmessage = ({ data }) => resolve(data); });
    if ((await said()).kind !== "ready") throw new Error("the worker is not ready");
    const moments = [];
    for (const [number, one] of encoded.entries()) {
      const bytes = Uint8Array.from(atob(one), (letter) => letter.charCodeAt(0));
      const bitmap = await createImageBitmap(new Blob([bytes]), { colorSpaceConversion: "none" });
      const answer = said();
      worker.postMessage({ kind: "still", number, bitmap }, [bitmap]);
      const { moment, totalMs } = await answer;
      const { probabilities, evidence } = moment.reading.levels;
      moments.push({
        label: moment.reading.label, totalMs, invokeMs: moment.reading.timing.invoke,
        levels: { probabilities: [...probabilities], evidence: [...evidence] },
      });
    }
    worker.terminate();
    return moments;
  }, pictures);
}

try {
  stage = "start";
  await page.goto(address);
  await page.locator("#run:not([disabled])").waitFor();
  await scan("start");
  await shoot("start", PHONE);

  stage = "camera";
  await page.locator("#run").click();
  seen.camera = await answered();
  await page.locator("#where").click();
  await scan("live");
  await shoot("live", PHONE);
  await shoot("live-360", { width: 360, height: 640 });
  await shoot("landscape", { width: 844, height: 390 });
  await shoot("desktop", { width: 1280, height: 800 });
  await page.emulateMedia({ colorScheme: "dark" });
  await scan("dark");
  await shoot("dark", { width: 430, height: 932 });
  await page.emulateMedia({ colorScheme: "light" });
  await page.evaluate(() => { document.documentElement.style.fontSize = "200%"; });
  await shoot("large-text", PHONE);
  await page.evaluate(() => { document.documentElement.style.fontSize = ""; });
  await page.setViewportSize(PHONE);

  stage = "history";
  await page.locator("#run").click();
  seen.frozen = [await page.locator("#run").textContent(), await title()];
  await page.locator("#keep").click();
  await page.getByText("Kept", { exact: true }).waitFor();
  await page.locator("#open-history").click();
  await page.locator("#history-list li").waitFor();
  seen.kept = await page.locator("#history-list li div").first().textContent();
  await scan("history");
  await shoot("history", PHONE);
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator("#export").click()]);
  seen.exported = JSON.parse(readFileSync(await download.path(), "utf8"));
  await page.locator("#erase").click();
  await page.locator("#history-empty:not([hidden])").waitFor();
  await page.locator("#close-history").click();

  stage = "classify";
  seen.classified = await classify(config.pictures);
  seen.csp = await page.evaluate(() => globalThis.breaches);
  const session = await context.newCDPSession(page);
  seen.installability = (await session.send("Page.getInstallabilityErrors")).installabilityErrors;
  seen.manifest = (await session.send("Page.getAppManifest")).errors;

  stage = "offline";
  await page.getByText("without a network").waitFor({ state: "attached" });
  server.kill();
  await gone;
  await page.goto(address);
  await page.locator("#choose:not([disabled])").waitFor();
  await page.locator("#file").setInputFiles(config.pictures[0]);
  seen.offline = await answered();
  await shoot("photo-offline", PHONE);
  await page.getByText("without a network").waitFor({ state: "attached" });
  seen.network = await page.locator("#facts").textContent();
} catch (error) {
  // before the browser is closed, which may take for ever too
  console.error(`at '${stage}':`, error);
  process.exitCode = 1;
} finally {
  server.kill();
  await context.close();
  await rm(profile, { recursive: true, force: true });
}
process.stdout.write(JSON.stringify(seen), () => process.exit());
