// Runs the script of the web page without a browser. Argument: the script. Standard input: JSON { states, isOld }: the
// answers to the requests of the state, and whether the browser is an old one. The answer null is a failure. Standard
// output: JSON of what the page shows and requests.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

import { define, element, listeners, settled, texts, timers } from "../dom.mjs";

const { states, isOld } = JSON.parse(readFileSync(0));
if (isOld) delete AbortSignal.timeout;
const asked = [];
const saves = [{ saved: "dermedge-1.png" }, { error: "the disk is full" }];

async function answer(path, options) {
  asked.push([path, options ?? null]);
  if (path === "state") isPatient &&= !(options?.signal instanceof AbortSignal);
  if (path !== "state" && !saves.length) throw new TypeError("Failed to fetch");
  if (path !== "state") return { json: async () => saves.shift() };
  const state = states.shift();
  if (state === null) return { ok: false, text: async () => "the server is gone" };
  return { ok: true, json: async () => state };
}

// From one request of the state to the next, half a second passes. Before the last request, the device sleeps for a
// minute.
let nowMs = 0;
Date.now = () => nowMs;
let isPatient = true;

let hash = "";
const location = { get hash() { return hash; }, set hash(name) { hash = name && `#${name.replace("#", "")}`; } };
define({ fetch: answer, location });

function shown() {
  return {
    title: element("title").textContent,
    hint: element("hint").textContent,
    spoken: element("spoken").textContent,
    bars: element("bars").children.map((row) => [
      row.className, row.children[0].textContent, row.children[1].value, row.children[1].attributes["aria-label"],
      row.children[2].textContent]),
    areBarsEmpty: element("bars").classes.has("empty"),
    figures: element("figures").children.map((one) => one.textContent),
    history: texts("history"),
    isHistoryEmpty: !element("none").hidden,
    links: element("links").children.map(({ children: [link] }) => [
      link.href, link.children[0].src, link.children[1].textContent, link.rel]),
    areImagesShown: !element("images").hidden,
    isHeatOffered: !element("heat").hidden,
    isStale: document.body.classes.has("stale"),
    video: element("video").src ?? null,
  };
}

const count = states.length;
const seen = [];
await import(pathToFileURL(process.argv[2]));
for (let number = 0; number < count; number++) {
  await settled();
  seen.push(shown());
  nowMs += number < count - 2 ? 500 : 60_000;
  if (number < count - 1) timers.at(-1).work();
}
const waits = timers.map(({ ms }) => ms);
await element("save").click();
const saved = [element("saved").textContent];
await element("save").click();
saved.push(element("saved").textContent);
const heat = () => [element("heat").attributes["aria-pressed"], element("legend").hidden, element("video").src.split("&")[0]];
element("heat").click();
listeners.hashchange();
const views = [[location.hash, ...heat()]];
// the server does not answer
await element("save").click();
saved.push(element("saved").textContent);
element("heat").click();
listeners.hashchange();
views.push([location.hash, ...heat()]);
element("video").fire("error");
const local = new Date("2026-11-29T22:36:02Z").toLocaleString();
console.log(JSON.stringify({ seen, waits, asked, saved, views, isPatient, retry: timers.at(-1).ms, local }));
