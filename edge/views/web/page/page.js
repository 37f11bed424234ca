// Updates the page twice a second, and requests the live video again if it breaks off.
"use strict";

const POLL_MS = 500;
const RETRY_MS = 2000;
// If the server does not answer for this long, the connection counts as broken.
const SILENT_MS = 3000;
const LINKS = 10;
const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
const ANSWERED = ["answer", "uncertain", "none of these"];
const element = (id) => document.getElementById(id);
let shownLinks = "";
let spoken = "";
let answeredMs = Date.now();
const OFFLINE = "dermedge run does not answer: start it again, or connect this device to its network";
const percent = (share) => `${Math.round(100 * share)} %`;

// The notes on an answer, which stand beside the headline.
const notesOf = ({ alert, view }) =>
  [alert && `${alert} alert`, view === "close-up" && "close-up: less certain"].filter(Boolean);

// Returns the server's own message. The other errors come from the browser, and each browser words them differently.
const reasonOf = (error) => (error.constructor === Error ? error.message : OFFLINE);

// Sets the text that screen readers read out when it changes. It has no percentages, because they change all the time.
function speak(...parts) {
  const text = parts.join(", ");
  if (text !== spoken) element("spoken").textContent = spoken = text;
}

function make(tag, text, className) {
  const made = document.createElement(tag);
  made.textContent = text ?? "";
  if (className) made.className = className;
  return made;
}

function showBars(result) {
  const rows = Object.entries(result.probabilities ?? {}).map(([label, share]) => {
    const row = make("div", "", label === result.label ? "bar chosen" : "bar");
    const isInSet = result.set?.includes(label);
    const bar = make("progress");
    bar.value = share;
    bar.setAttribute("aria-label", label);
    row.append(make("span", isInSet ? `* ${label}` : label), bar, make("span", percent(share)));
    return row;
  });
  // without an answer, the bars are hidden but keep their place, so that the text below the bars does not move
  if (rows.length) element("bars").replaceChildren(...rows);
  element("bars").classList.toggle("empty", !rows.length);
}

function showFigures(result) {
  const figures = [
    ["frames a second", result.fps?.toFixed(1)],
    ["frame age", result.frame_age_ms ? `${result.frame_age_ms.toFixed(0)} ms` : "–"],
    ["inference", result.latency_ms ? `${result.latency_ms.invoke.toFixed(1)} ms` : "–"],
    ["processor", result.temperature_c && `${result.temperature_c.toFixed(0)} °C`],
    ["dropped", result.dropped],
    ["source", result.source],
  ].filter(([, value]) => value !== undefined && value !== null);
  element("figures").replaceChildren(
    ...figures.flatMap(([name, value]) => [make("dt", name), make("dd", value)]));
}

function showHistory(history) {
  element("history").replaceChildren(...history.map((one) => {
    const row = make("tr");
    const notes = [one.headline, ...notesOf(one)];
    row.append(make("td", new Date(one.at).toLocaleTimeString([], CLOCK)), make("td", notes.join(", ")),
      make("td", percent(one.probability)));
    return row;
  }));
  element("none").hidden = history.length > 0;
}

// The time at which a photo was saved, from its file name, such as dermedge-20261129T223602.123Z.png.
function savedAt(name) {
  const [, ...parts] = name.match(/(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)/) ?? [];
  if (!parts.length) return name;
  return new Date(`${parts.slice(0, 3).join("-")}T${parts.slice(3).join(":")}Z`).toLocaleString();
}

function showSaved(names) {
  const links = names.slice(0, LINKS).map((name) => {
    const link = make("a");
    link.href = `saved/${name}`;
    const image = make("img");
    image.src = `saved/${name}?thumbnail=1`;
    image.alt = "";
    link.append(image, make("span", savedAt(name)));
    link.target = "_blank";
    link.rel = "noopener";
    const item = make("li");
    item.append(link);
    return item;
  });
  element("links").replaceChildren(...links);
  element("images").hidden = !links.length;
}

function show({ result, history, saved, heat_map: hasHeatMap }) {
  showHistory(history);
  if (saved.join() !== shownLinks) showSaved(saved);
  shownLinks = saved.join();
  element("heat").hidden = !hasHeatMap;
  if (!result) return;
  const answered = ANSWERED.includes(result.state);
  const share = result.nearest ? result.probabilities[result.nearest] : result.probability;
  const notes = answered ? notesOf(result) : [];
  speak(answered ? result.headline : result.state, ...notes);
  if (result.set) notes.push("* not ruled out");
  if (result.hint !== result.state) notes.push(result.hint);
  element("title").textContent = answered ? `${result.headline} ${percent(share)}` : result.state;
  element("hint").textContent = notes.filter(Boolean).join(", ");
  showBars(result);
  showFigures(result);
}

async function poll() {
  try {
    // browsers of 2021 and before have no AbortSignal.timeout, so they wait for ever if the server is silent
    const response = await fetch("state", { signal: AbortSignal.timeout?.(SILENT_MS) });
    if (!response.ok) throw new Error(await response.text());
    show(await response.json());
    renewVideo();
  } catch (error) {
    document.body.classList.add("stale");
    element("title").textContent = "no connection";
    element("hint").textContent = reasonOf(error);
    speak("no connection");
  }
  setTimeout(poll, POLL_MS);
}

// Requests the live video again if the connection was broken, or if this device slept. Browsers do not report that a
// video has ended after its first frame. Without a new request, the last frame would stay, and look like a live one.
function renewVideo() {
  const wasBroken = document.body.classList.contains("stale") || Date.now() - answeredMs > SILENT_MS + POLL_MS;
  answeredMs = Date.now();
  document.body.classList.remove("stale");
  if (wasBroken) watch();
}

element("save").addEventListener("click", async () => {
  try {
    const response = await fetch(withHeat("save"), { method: "POST", headers: { "X-Dermedge": "1" } });
    const { saved, error } = await response.json();
    element("saved").textContent = saved ? `saved ${saved} on the device` : error;
  } catch (error) {
    element("saved").textContent = reasonOf(error);
  }
});

// The hash of the page's URL tells whether the heat map is on, so that the heat map stays on after a reload. No element
// has the id "hot", so the page does not scroll.
const isHot = () => location.hash === "#hot";
const withHeat = (path) => `${path}?heat=${Number(isHot())}`;

function watch() {
  element("heat").setAttribute("aria-pressed", isHot());
  element("legend").hidden = !isHot();
  element("video").src = `${withHeat("video.mjpg")}&at=${Date.now()}`;
}

element("heat").addEventListener("click", () => { location.hash = isHot() ? "" : "hot"; });
addEventListener("hashchange", watch);
element("video").addEventListener("error", () => setTimeout(watch, RETRY_MS));
if (isHot()) watch();

poll();
