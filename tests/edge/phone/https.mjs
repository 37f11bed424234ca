// Visits of the page over HTTPS in headless Chromium. The first browser does not know the certificate authority, and
// the second one trusts it. Argument: JSON { server, program, pictures }: the server's command line, the browser, and
// PNGs, of which the first is classified. Standard output: JSON of what was seen.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { chromium } from "playwright-core";

import { CHROMIUM_ARGUMENTS, config, finish, serve, watch } from "./visit.mjs";

const at = watch();
const server = await serve("https");
const home = mkdtempSync(join(tmpdir(), "home-"));
process.once("exit", () => rmSync(home, { recursive: true, force: true }));
const seen = { said: server.said };

async function open(name) {
  const context = await chromium.launchPersistentContext(join(home, name), {
    executablePath: config.program, env: { ...process.env, HOME: home },
    args: [...CHROMIUM_ARGUMENTS, `--proxy-bypass-list=${new URL(server.address).hostname}`],
  });
  return [context, context.pages()[0]];
}

async function answerOf(page) {
  await page.locator("#choose:not([disabled])").waitFor();
  await page.locator("#file").setInputFiles(config.pictures[0]);
  await page.waitForFunction(() => / \d+ %$/.test(document.querySelector("#title").textContent));
  return page.locator("#title").textContent();
}

at.stage = "untrusted";
const [strange, untrusted] = await open("untrusted");
seen.untrusted = await untrusted.goto(server.address).then(() => "loaded", (error) => error.message);
await strange.close();

// As on a phone, the certificate is downloaded from the page that offers it, and added to the browser's own store.
at.stage = "trust";
const [trust] = server.said.join("\n").match(/http:\/\/\S+/);
const certificate = await (await fetch(new URL("dermedge-ca.crt", trust))).text();
const [store, file] = [join(home, ".pki", "nssdb"), join(home, "ca.crt")];
mkdirSync(store, { recursive: true });
writeFileSync(file, certificate);
const certutil = (...words) => execFileSync("certutil", [...words, "-d", `sql:${store}`]);
certutil("-N", "--empty-password");
certutil("-A", "-n", "dermedge", "-t", "C,,", "-i", file);

at.stage = "trusted";
const [context, page] = await open("trusted");
await page.goto(server.address);
seen.secure = await page.evaluate(() => [location.protocol, isSecureContext, Boolean(navigator.mediaDevices)]);
seen.photo = await answerOf(page);
await page.getByText("without a network").waitFor({ state: "attached" });
seen.network = await page.locator("#facts").textContent();
const session = await context.newCDPSession(page);
seen.installability = (await session.send("Page.getInstallabilityErrors")).installabilityErrors;

at.stage = "offline";
await server.stop();
await page.goto(server.address);
seen.offline = await answerOf(page);
await context.close();
finish(seen);
