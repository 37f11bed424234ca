// A visit of the page in Firefox or WebKitGTK. Argument: JSON { server, engine, program, pictures, shots }: the
// server's command line, "firefox" or "webkit", the browser, PNGs to classify, and a folder for screenshots.
// Standard output: JSON of what was seen.

import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createServer } from "node:net";

import puppeteer from "puppeteer-core";
import { Builder, By } from "selenium-webdriver";
import { manual } from "selenium-webdriver/proxy.js";

import { classify, config, encoded, finish, listen, serve, watch } from "./visit.mjs";

const PHONE = { width: 390, height: 844 };
const FOREIGN = "http://foreign.invalid/picture.png";

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => { server.listen(0, "127.0.0.1", resolve); });
  const { port } = server.address();
  await new Promise((resolve) => { server.close(resolve); });
  return port;
}

// Each function starts a browser with its proxy at `port`, and returns { goto, evaluate, choose, shoot, close }.
const ENGINES = {
  firefox: async (port) => {
    const browser = await puppeteer.launch({
      browser: "firefox", executablePath: config.program, headless: true, defaultViewport: PHONE,
      env: { ...process.env, MOZ_REMOTE_SETTINGS_DEVTOOLS: "1" },
      extraPrefsFirefox: {
        "network.proxy.type": 1, "network.proxy.http": "127.0.0.1", "network.proxy.http_port": port,
        "network.proxy.ssl": "127.0.0.1", "network.proxy.ssl_port": port,
        "services.settings.server": "data:,#remote-settings-dummy/v1",
        "media.navigator.streams.fake": true, "media.navigator.permission.disabled": true,
      },
    });
    const page = await browser.newPage();
    return {
      goto: (address) => page.goto(address),
      evaluate: (work, given) => page.evaluate(work, given),
      choose: async (path) => (await page.$("#file")).uploadFile(path),
      shoot: (path) => page.screenshot({ path }),
      close: () => browser.close(),
    };
  },
  webkit: async (port) => {
    const service = await freePort();
    const driving = spawn("WebKitWebDriver", [`--port=${service}`], { stdio: ["ignore", "inherit", "inherit"] });
    process.once("exit", () => driving.kill());
    const driver = await new Builder()
      .usingServer(`http://127.0.0.1:${service}`)
      .withCapabilities({
        browserName: "MiniBrowser",
        "webkitgtk:browserOptions": { binary: config.program, args: ["--automation"] },
      })
      .setProxy(manual({ http: `127.0.0.1:${port}`, https: `127.0.0.1:${port}`, bypass: ["localhost", "127.0.0.1"] }))
      .build();
    await driver.manage().window().setRect(PHONE);
    await driver.manage().setTimeouts({ script: 60_000 });
    return {
      goto: (address) => driver.get(address),
      evaluate: async (work, given) => {
        const { value, error } = await driver.executeAsyncScript(`const [given, done] = arguments;
          (async () => (${work})(given))().then((value) => done({ value }), (error) => done({ error: String(error) }));`,
        given ?? null);
        if (error) throw new Error(error);
        return value;
      },
      choose: (path) => driver.findElement(By.id("file")).sendKeys(path),
      shoot: async (path) => writeFileSync(path, await driver.takeScreenshot(), "base64"),
      close: async () => { await driver.quit(); driving.kill(); },
    };
  },
};

const at = watch();
const server = await serve();
const ear = await listen();
at.stage = "browser";
const browser = await ENGINES[config.engine](ear.port);
const text = (id) => browser.evaluate((name) => document.getElementById(name).textContent, id);

const pause = () => new Promise((resolve) => { setTimeout(resolve, 100); });

async function until(id, pattern) {
  for (;;) {
    const found = await text(id);
    if (pattern.test(found)) return found;
    await pause();
  }
}

async function answerOf(path) {
  await browser.choose(path);
  return until("title", / \d+ %$/);
}

at.stage = "start";
await browser.goto(server.address);
await until("title", /^ready$/);
const seen = { agent: await browser.evaluate(() => navigator.userAgent) };

at.stage = "photo";
seen.photo = await answerOf(config.pictures[0]);
await browser.shoot(join(config.shots, `${config.engine}-photo.png`));

at.stage = "classify";
seen.classified = await browser.evaluate(classify, encoded(config.pictures));

at.stage = "camera";
await browser.evaluate(() => document.getElementById("run").click());
seen.camera = [await until("title", /^(searching|hold still|camera lost)$/), await until("hint", /./)];
await browser.shoot(join(config.shots, `${config.engine}-camera.png`));

at.stage = "breach";
seen.reports = [...server.reports];
await browser.evaluate((address) => { new Image().src = address; }, FOREIGN);
while (server.reports.length === seen.reports.length) await pause();
seen.breach = server.reports.at(-1);

at.stage = "offline";
await until("facts", /without a networkworks/);
await server.stop();
await browser.goto(server.address);
await until("title", /^ready$/);
seen.offline = await answerOf(config.pictures[0]);

seen.asked = ear.asked;
await browser.close();
finish(seen);
