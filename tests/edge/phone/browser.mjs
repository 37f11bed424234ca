// A visit of the page in headless Chromium. Argument: JSON { server, program, video, marks, pictures, shots }: the
// server's command line, the browser, a y4m video for the camera, the places of the marks that number its images, PNGs
// to classify, and a folder for screenshots.
// Standard output: JSON of what was seen.

import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { chromium } from "playwright-core";

import { CHROMIUM_ARGUMENTS, classify, config, encoded, finish, serve, watch } from "./visit.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const ARGUMENTS = [
  ...CHROMIUM_ARGUMENTS, "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
  `--use-file-for-fake-video-capture=${config.video}`,
];
const PHONE = { width: 390, height: 844 };

// While an answer is frozen, the answers come this late. So the video shows a later image than the frozen one.
const LATE_MS = 300;

const at = watch();
const server = await serve();
at.stage = "browser";
const profile = await mkdtemp(join(tmpdir(), "profile-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: config.program, args: ARGUMENTS, viewport: PHONE, acceptDownloads: true,
  serviceWorkers: "allow", permissions: ["camera"],
});

const seen = { foreign: [], breaches: [], errors: [], axe: {}, overflow: {} };
context.on("request", (request) => {
  if (!/^(blob:|data:)/.test(request.url()) && !request.url().startsWith(server.address)) seen.foreign.push(request.url());
});
// The browser's own log also has the breaches of the policy by workers. The events below do not have them.
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
await page.addInitScript(({ across, down, side }) => {
  // Returns the number that the marks in the centre square of an image show. The source is a bitmap, canvas or video.
  const numberOf = (source) => {
    const [width, height] = [source.videoWidth ?? source.width, source.videoHeight ?? source.height];
    const canvas = new OffscreenCanvas(side, side);
    const context = canvas.getContext("2d");
    const whole = Math.min(width, height);
    context.drawImage(source, (width - whole) / 2, (height - whole) / 2, whole, whole, 0, 0, side, side);
    return across.reduce((sum, x, bit) => sum + (context.getImageData(x, down, 1, 1).data[0] > 140) * 2 ** bit, 0);
  };
  Object.assign(globalThis, { numberOf, lateMs: 0, asked: null, answered: null });
  globalThis.Worker = class extends Worker {
    constructor(...given) {
      super(...given);
      this.addEventListener("message", ({ data }) => {
        if (data.result?.classification) globalThis.answered = globalThis.asked;
      });
    }

    postMessage(message, transfer) {
      if (message.kind !== "live") {
        super.postMessage(message, transfer);
        return;
      }
      globalThis.asked = numberOf(message.bitmap);
      setTimeout(() => super.postMessage(message, transfer), globalThis.lateMs);
    }
  };
}, config.marks);

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

try {
  at.stage = "start";
  await page.goto(server.address);
  await page.locator("#run:not([disabled])").waitFor();
  await scan("start");
  await shoot("start", PHONE);

  at.stage = "camera";
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

  at.stage = "history";
  await page.evaluate((late) => { globalThis.lateMs = late; }, LATE_MS);
  await page.waitForTimeout(4 * LATE_MS);
  // all three numbers are read at once, before another answer comes
  seen.numbers = await page.evaluate(() => {
    document.querySelector("#run").click();
    return {
      answered: globalThis.answered,
      still: globalThis.numberOf(document.querySelector("#still")),
      video: globalThis.numberOf(document.querySelector("#video")),
    };
  });
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

  at.stage = "classify";
  seen.classified = await page.evaluate(classify, encoded(config.pictures));
  seen.reports = server.reports;
  seen.csp = await page.evaluate(() => globalThis.breaches);
  const session = await context.newCDPSession(page);
  seen.installability = (await session.send("Page.getInstallabilityErrors")).installabilityErrors;
  seen.manifest = (await session.send("Page.getAppManifest")).errors;

  at.stage = "offline";
  await page.getByText("without a network").waitFor({ state: "attached" });
  await server.stop();
  await page.goto(server.address);
  await page.locator("#choose:not([disabled])").waitFor();
  await page.locator("#file").setInputFiles(config.pictures[0]);
  seen.offline = await answered();
  await shoot("photo-offline", PHONE);
  await page.getByText("without a network").waitFor({ state: "attached" });
  seen.network = await page.locator("#facts").textContent();
} catch (error) {
  // the error is printed before the browser is closed, because closing may hang
  console.error(`at '${at.stage}':`, error);
  process.exitCode = 1;
} finally {
  await context.close();
  await rm(profile, { recursive: true, force: true });
}
finish(seen);
