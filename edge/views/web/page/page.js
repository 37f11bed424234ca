// Shows the state twice a second, and asks for the live picture again when it was lost.
"use strict";

const POLL_MS = 500;
const RETRY_MS = 2000;
const ANSWERED = ["answer", "uncertain", "none of these"];
const element = (id) => document.getElementById(id);
const percent = (share) => `${Math.round(100 * share)} %`;

function make(tag, text, className) {
  const made = document.createElement(tag);
  made.textContent = text ?? "";
  if (className) made.className = className;
  return made;
}

function showBars(moment) {
  const rows = Object.entries(moment.probabilities ?? {}).map(([label, share]) => {
    const row = make("div", "", label === moment.label ? "bar chosen" : "bar");
    const isLeft = moment.set?.includes(label);
    const bar = make("progress");
    bar.value = share;
    bar.setAttribute("aria-label", label);
    row.append(make("span", isLeft ? `* ${label}` : label), bar, make("span", percent(share)));
    return row;
  });
  if (rows.length) element("bars").replaceChildren(...rows);
  element("bars").hidden = !rows.length;
}

function showFigures(moment) {
  const figures = [
    ["frames a second", moment.fps?.toFixed(1)],
    ["frame age", moment.frame_age_ms && `${moment.frame_age_ms.toFixed(0)} ms`],
    ["inference", moment.latency_ms && `${moment.latency_ms.invoke.toFixed(1)} ms`],
    ["processor", moment.temperature_c && `${moment.temperature_c.toFixed(0)} °C`],
    ["dropped", moment.dropped],
    ["source", moment.source],
  ].filter(([, value]) => value !== undefined && value !== null);
  element("figures").replaceChildren(
    ...figures.flatMap(([name, value]) => [make("dt", name), make("dd", value)]));
}

function showHistory(history) {
  element("history").replaceChildren(...history.map((one) => {
    const row = make("tr");
    const notes = [one.label, one.state === "uncertain" && one.label !== "uncertain" && "uncertain",
      one.alert && `${one.alert} alert`].filter(Boolean);
    row.append(make("td", new Date(one.at).toLocaleTimeString()), make("td", notes.join(", ")),
      make("td", percent(one.probability)));
    return row;
  }));
  element("none").hidden = history.length > 0;
}

function show({ moment, history, heat_map: hasHeatMap }) {
  showHistory(history);
  element("heat").hidden = !hasHeatMap;
  if (!moment) return;
  const answered = ANSWERED.includes(moment.state) && moment.label;
  const notes = [];
  if (answered && moment.uncertain && moment.label !== "uncertain") notes.push("uncertain");
  if (answered && moment.alert) notes.push(`${moment.alert} alert`);
  if (moment.set) notes.push("* not ruled out");
  if (moment.hint) notes.push(moment.hint);
  element("title").textContent = answered ? `${moment.label} ${percent(moment.probability)}` : moment.state;
  element("hint").textContent = notes.join(", ");
  showBars(moment);
  showFigures(moment);
}

async function poll() {
  try {
    const response = await fetch("state");
    if (!response.ok) throw new Error(await response.text());
    show(await response.json());
  } catch (error) {
    element("title").textContent = "no connection";
    element("hint").textContent = error.message;
  }
  setTimeout(poll, POLL_MS);
}

element("save").addEventListener("click", async () => {
  try {
    const response = await fetch(withHeat("save"), { method: "POST", headers: { "X-Dermedge": "1" } });
    const { saved, error } = await response.json();
    element("saved").textContent = saved ? `saved ${saved} on the device` : error;
  } catch (error) {
    element("saved").textContent = error.message;
  }
});

// Each viewer has the heat map on or off in the address, so that a reload keeps it; no element has that id.
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
