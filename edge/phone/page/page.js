// The page. It sends camera frames or a photo to the worker, and shows the results.

import { Camera } from "./camera.js";
import * as history from "./history.js";
import { Latencies } from "./latencies.js";
import { CLOSE_UP } from "./decision.js";
import { ANSWERED } from "./states.js";

// The colours of Okabe and Ito, as on the Raspberry Pi. Colour-blind people can tell these colours apart, and no colour
// of this palette signals danger.
const PALETTE = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"];
// Colours of the heat map from cold to hot, taken from the Inferno colour map.
const HEAT = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];
const HEAT_OPACITY = 0.55;
const SILENT_MS = 2000;
const KEPT_SIDE = 512;

const element = (id) => document.getElementById(id);
const percent = (share) => `${Math.round(100 * share)} %`;
const colourOf = (index) => PALETTE[index % PALETTE.length];

function make(tag, text = "", className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

// The mode is "off", "live", "frozen" or "photo". Each change of the mode increases `generation`. A result that was
// requested before the change has an older generation, and is ignored.
let mode = "off";
let generation = 0;
let isBusy = false;
let lastFrameMs = 0;
let shown = null;
// The frame to which the answer on the screen belongs: an ImageBitmap, or null.
let shownFrame = null;
let app = null;
let spoken = "";

const video = element("video");
const camera = new Camera(video);
const worker = new Worker("worker.js");
const latencies = new Latencies();

worker.onmessage = ({ data }) => {
  if (data.kind === "ready") ready(data.app);
  if (data.kind === "failed") fail(data.reason);
  if (data.kind !== "result") return;
  isBusy = false;
  if (mode === "live") note(data);
  if (data.number === generation) show(data.result, data.bitmap);
  else data.bitmap?.close();
};
worker.onerror = () => fail("the page cannot run in this browser: use Chrome 89, Firefox 114, Safari 16.4 or newer");

function ready(described) {
  app = described;
  element("bars").replaceChildren(...app.manifest.labels.map((label, index) => {
    const row = make("li");
    const bar = make("progress");
    bar.value = 0;
    bar.setAttribute("aria-label", label);
    bar.style.setProperty("--class", colourOf(index));
    row.append(make("span", label), bar, make("span"));
    return row;
  }));
  element("bars").hidden = true;
  for (const id of ["run", "choose"]) element(id).disabled = false;
  fact("model", `${app.manifest.architecture}, ${app.sha256["model.tflite"].slice(0, 16)}`);
  if (app.manifest.licence) fact("model's licence", app.manifest.licence);
  say("ready", "start the camera, or choose a photo");
}

// Adds the durations of an answer for a camera frame to the latencies.
function note({ result: { classification }, totalMs }) {
  if (classification) latencies.add(totalMs, classification.timing.invoke);
  if (latencies.isEnough) element("export-latencies").disabled = false;
}

function fact(name, text) {
  element("facts").append(make("dt", name), make("dd", text));
}

function fail(reason) {
  setMode("off");
  camera.close();
  for (const id of ["run", "choose", "keep", "where"]) element(id).disabled = true;
  say("cannot run", reason);
}

function say(title, hint) {
  element("title").textContent = title;
  element("hint").textContent = hint;
  // removes the percentage, because a screen reader would read out each change, many times a second
  const text = [title.replace(/ \d+ %$/, ""), hint].filter(Boolean).join(", ");
  if (text !== spoken) element("spoken").textContent = spoken = text;
}

// Returns the headline, and the probability of the class that the headline names.
function titleOf({ headline: { title, nearest }, label }, probabilityOf) {
  const words = nearest === null ? title : `${title}; nearest: ${nearest}`;
  return `${words} ${percent(probabilityOf(nearest ?? label))}`;
}

// Returns the notes on an answer, which stand beside the headline.
const notesOf = ({ alert, view }) => [alert && `${alert} alert`, view === CLOSE_UP && "close-up: less certain"];

const titleOfAnswer = (answer) => titleOf(answer, (name) => answer.probabilities[app.manifest.labels.indexOf(name)]);

function show(result, bitmap) {
  const { state, hint, agrees, classification, crop } = result;
  const isAnswered = ANSWERED.includes(state);
  // if this frame has another answer, or was rejected, the earlier answer and the earlier frame stay on the screen
  const isHeld = isAnswered && !agrees;
  const answer = isHeld ? shown : isAnswered && classification;
  const notes = answer ? notesOf(answer) : [];
  const title = answer ? titleOfAnswer(answer) : state;
  say(title, [...notes, hint !== title && hint].filter(Boolean).join(", "));
  if (crop) element("crop").style.setProperty("--share", crop.side / Math.min(crop.width, crop.height));
  if (isHeld) {
    bitmap?.close();
    return;
  }
  shown = answer || null;
  shownFrame?.close();
  shownFrame = bitmap;
  showBars(classification);
  showHeat(classification);
  element("keep").disabled = !shown;
  element("reticle").style.setProperty("--state", shown ? colourOf(shown.index) : "#fff");
}

// Removes the answer from the screen, and shows a state and a hint instead.
function clear(state, hint) {
  show({ state, hint, classification: null, crop: null }, null);
}

function showBars(classification) {
  element("bars").hidden = !classification;
  if (!classification) return;
  [...element("bars").children].forEach((row, index) => {
    const share = classification.probabilities[index];
    row.className = index === classification.index ? "chosen" : "";
    row.children[1].value = share;
    row.children[2].textContent = percent(share);
  });
}

function showHeat(classification) {
  const heat = element("heat");
  const isWanted = element("where").getAttribute("aria-pressed") === "true";
  element("where").disabled = !classification?.heat;
  heat.hidden = !(isWanted && classification?.heat);
  if (heat.hidden) return;
  const [height, width] = app.evidence.shape;
  const pixels = new ImageData(width, height);
  classification.heat.forEach((warmth, cell) => {
    const place = warmth * (HEAT.length - 1);
    const low = Math.min(Math.floor(place), HEAT.length - 2);
    const mixed = HEAT[low].map((one, channel) => one + (place - low) * (HEAT[low + 1][channel] - one));
    pixels.data.set([...mixed, 255 * HEAT_OPACITY * warmth], 4 * cell);
  });
  Object.assign(heat, { width, height });
  heat.getContext("2d").putImageData(pixels, 0, 0);
}

const RUN_LABELS = { off: "Start camera", live: "Freeze", frozen: "Continue", photo: "Camera" };

function setMode(wanted) {
  mode = wanted;
  generation += 1;
  isBusy = false;
  element("run").textContent = RUN_LABELS[mode];
  element("still").hidden = !["frozen", "photo"].includes(mode);
  if (mode === "live") worker.postMessage({ kind: "reset" });
}

// Shows the controls that the camera has. If the camera has just opened, its torch is off, and its zoom is the smallest
// possible. If the camera stayed open, its torch and its zoom have not changed.
function showControls(hasJustOpened) {
  const { torch, zoom } = camera.offers;
  element("torch").hidden = !torch;
  if (hasJustOpened) element("torch").setAttribute("aria-pressed", "false");
  const isNewZoom = hasJustOpened || element("zoom-row").hidden;
  element("zoom-row").hidden = !zoom;
  if (!zoom || !isNewZoom) return;
  Object.assign(element("zoom"), { min: zoom.min, max: zoom.max, step: zoom.step || 0.1, value: zoom.min });
}

async function startCamera() {
  const number = generation;
  const wasOpen = camera.isOpen;
  try {
    if (camera.isOpen) await video.play();
    else await camera.open(() => { if (mode === "live") lost("the camera has stopped: start it again"); });
  } catch (error) {
    lost(error.message);
    return;
  }
  // while the camera opened, the user may have left the page or chosen a photo
  if (document.hidden || (number !== generation && mode !== "live")) {
    camera.close();
    return;
  }
  showControls(!wasOpen);
  lastFrameMs = performance.now();
  setMode("live");
  clear("searching", "");
}

function lost(reason) {
  setMode("off");
  worker.postMessage({ kind: "lost", number: generation, reason });
}

// Handles a new frame: sends it to the worker if the worker is free, and skips it otherwise.
async function onFrame(nowMs) {
  nextFrame();
  lastFrameMs = nowMs;
  if (mode !== "live" || isBusy || !app || !video.videoWidth) return;
  isBusy = true;
  const number = generation;
  const bitmap = await createImageBitmap(video).catch(() => null);
  if (bitmap && number === generation) {
    worker.postMessage({ kind: "live", number, bitmap, atS: nowMs / 1000 }, [bitmap]);
  } else {
    isBusy = false;
  }
}

function nextFrame() {
  if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(onFrame);
  else requestAnimationFrame(onFrame);
}
nextFrame();

setInterval(() => {
  if (mode !== "live" || performance.now() - lastFrameMs < SILENT_MS) return;
  camera.close();
  lost("the camera sends no frames: start it again");
}, SILENT_MS / 4);

// Stops the camera when the page is hidden. Otherwise, the camera would drain the battery, and its light would worry
// people. A frozen frame stays on the screen.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) return;
  camera.close();
  if (mode !== "live") return;
  setMode("off");
  clear("paused", "start the camera again");
});

element("run").addEventListener("click", () => {
  if (mode !== "live") {
    startCamera();
    return;
  }
  if (!shownFrame) return;
  video.pause();
  // draws the frame to which the answer belongs, because the video is already some frames ahead
  drawSquare(element("still"), shownFrame);
  setMode("frozen");
});

element("choose").addEventListener("click", () => element("file").click());

element("file").addEventListener("change", async ({ target }) => {
  const [file] = target.files;
  target.value = "";
  if (!file) return;
  setMode("photo");
  clear("reading", "");
  camera.close();
  const number = generation;
  try {
    // decodes pixels as they are stored, without applying a colour profile, as Python does
    const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
    if (number !== generation) return;
    drawSquare(element("still"), bitmap);
    worker.postMessage({ kind: "still", number, bitmap }, [bitmap]);
  } catch {
    if (number !== generation) return;
    setMode("off");
    clear("no photo", `'${file.name}' cannot be read as a photo: choose another photo`);
  }
});

// Draws the centre square of a bitmap or a canvas on another canvas.
function drawSquare(canvas, source) {
  const { width, height } = source;
  const side = Math.min(width, height);
  Object.assign(canvas, { width: KEPT_SIDE, height: KEPT_SIDE });
  canvas.getContext("2d").drawImage(
    source, (width - side) / 2, (height - side) / 2, side, side, 0, 0, KEPT_SIDE, KEPT_SIDE);
}

element("where").addEventListener("click", ({ target }) => {
  target.setAttribute("aria-pressed", String(target.getAttribute("aria-pressed") !== "true"));
  showHeat(shown);
});

element("torch").addEventListener("click", async ({ target }) => {
  const torch = target.getAttribute("aria-pressed") !== "true";
  if (await camera.set({ torch })) target.setAttribute("aria-pressed", String(torch));
});

element("zoom").addEventListener("input", ({ target }) => camera.set({ zoom: Number(target.value) }));

element("view").addEventListener("click", ({ offsetX, offsetY }) => {
  // converts a place in the shown square, which is the middle of the frame, to a place in the whole frame
  const { videoWidth: width, videoHeight: height } = video;
  const side = Math.min(width, height);
  const place = (offset, length) => ((length - side) / 2 + (offset / element("view").clientWidth) * side) / length;
  camera.focusAt(place(offsetX, width), place(offsetY, height));
});

element("keep").addEventListener("click", async () => {
  const { headline, label, probabilities, uncertain, alert, view } = shown;
  const canvas = make("canvas");
  drawSquare(canvas, mode === "live" ? shownFrame : element("still"));
  const jpeg = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
  try {
    await history.keep({
      at: new Date().toISOString(), headline, label, uncertain, alert, view, picture: jpeg,
      model: app.sha256["model.tflite"],
      probabilities: Object.fromEntries(app.manifest.labels.map((name, index) => [name, probabilities[index]])),
    });
    // asks the browser not to erase the photos by itself if it runs out of space
    navigator.storage?.persist?.();
    element("spoken").textContent = "kept on this device";
    element("keep").textContent = "Kept";
    setTimeout(() => { element("keep").textContent = "Keep answer"; }, 1500);
  } catch (error) {
    say("not kept", cannotStore(error));
  }
});

// A browser refuses its storage if the disk is full, or if the user has blocked the data of web sites.
const cannotStore = ({ message }) =>
  `the browser cannot store the history (${message}): free some space, and allow this page to store data`;

async function showHistory() {
  const entries = await history.all();
  element("history-empty").hidden = entries.length > 0;
  for (const id of ["export", "erase"]) element(id).disabled = !entries.length;
  element("history-list").replaceChildren(...await Promise.all(entries.map(async (entry) => {
    const row = make("li");
    const canvas = make("canvas");
    // a photo that the browser cannot read any more must not hide the other entries
    const bitmap = await createImageBitmap(entry.picture).catch(() => null);
    if (bitmap) drawSquare(canvas, bitmap);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", bitmap ? "the kept photo" : "the kept photo cannot be read");
    // entries that were stored by earlier versions have no headline
    const headline = entry.headline ?? { title: entry.label, nearest: null };
    const title = titleOf({ ...entry, headline }, (name) => entry.probabilities[name]);
    const text = make("div", [title, ...notesOf(entry)].filter(Boolean).join(", "));
    text.append(make("time", new Date(entry.at).toLocaleString()));
    row.append(canvas, text);
    return row;
  })));
}

// Does something with the history. If this fails, closes the history and shows the reason.
async function withHistory(work) {
  try {
    await work();
  } catch (error) {
    element("history").close();
    say("no history", cannotStore(error));
  }
}

element("open-history").addEventListener("click", () => withHistory(async () => {
  await showHistory();
  element("history").showModal();
}));
element("close-history").addEventListener("click", () => element("history").close());

function download(blob, name) {
  const link = make("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

element("export").addEventListener("click", () =>
  withHistory(async () => download(await history.exported(), "dermedge-history.json")));

element("export-latencies").addEventListener("click", () => {
  const results = latencies.results(app, navigator.userAgent, new Date());
  download(new Blob([JSON.stringify(results, null, 1)], { type: "application/json" }), "results.json");
});

element("erase").addEventListener("click", async () => {
  if (!confirm("Erase all photos and answers that are kept on this device? This cannot be undone.")) return;
  await withHistory(async () => {
    await history.erase();
    await showHistory();
  });
});

// Returns a promise, which fails if the browser cannot install the service worker.
function failureOf(installing) {
  return new Promise((_, reject) => {
    installing?.addEventListener("statechange", () => {
      if (installing.state === "redundant") reject(new Error("the browser cannot store the app; load the page again"));
    });
  });
}

async function keepApp() {
  try {
    const { installing } = await navigator.serviceWorker.register("sw.js", { updateViaCache: "none" });
    // if the app cannot be stored, for example because a file is missing, no service worker is ever ready
    await Promise.race([navigator.serviceWorker.ready, failureOf(installing)]);
    fact("without a network", "works");
  } catch (error) {
    fact("without a network", `does not work: ${error.message}`);
  }
}

if (navigator.serviceWorker) keepApp();
else fact("without a network", "needs HTTPS with a trusted certificate");
