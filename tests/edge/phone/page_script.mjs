// Runs the script of the phone page without a browser: a person starts the camera, freezes, keeps an answer, and loses
// the camera. Argument: the script. Standard output: JSON of what the page shows, asks of the camera and of the worker.

import { pathToFileURL } from "node:url";

import { define, element, listeners, settled, timers } from "../dom.mjs";

const posted = [];
const asked = [];
const applied = [];
const stored = [];
const downloads = [];
let now = 1000;
let onFrame = null;
let worker = null;
let failure = null;
let isRefusing = false;

class Track {
  isStopped = false;

  stop() {
    this.isStopped = true;
  }

  getCapabilities() {
    return { torch: true, zoom: { min: 1, max: 4, step: 0.5 }, focusMode: ["manual", "continuous", "single-shot"] };
  }

  async applyConstraints(constraints) {
    if (isRefusing) throw new Error("too hot");
    applied.push(constraints.advanced[0]);
  }
}

let track = null;

class Bitmap {
  isClosed = false;

  constructor(name, width = 640, height = 480) {
    Object.assign(this, { name, width, height });
  }

  close() {
    this.isClosed = true;
  }

  toJSON() {
    return this.name;
  }
}

// A request of IndexedDB. It succeeds after the page has set its handlers.
function request(result) {
  const made = { result };
  setImmediate(() => {
    made.onupgradeneeded?.();
    made.onsuccess?.();
  });
  return made;
}

let isDiskFull = false;
const database = {
  createObjectStore() {},
  close() {},
  // A transaction ends after its request. If the disk is full, the request succeeds, and the transaction is aborted.
  transaction: () => {
    const made = {
      objectStore: () => ({
        add: (entry) => request(isDiskFull ? stored.length : stored.push(entry)),
        getAll: () => request([...stored]),
        clear: () => request(stored.splice(0)),
      }),
    };
    setImmediate(() => setImmediate(() => {
      if (isDiskFull) made.error = new Error("the disk is full");
      if (isDiskFull) made.onabort();
      else made.oncomplete();
    }));
    return made;
  },
};

let bitmaps = 0;
define({
  Worker: class {
    constructor(script) {
      worker = this;
      this.script = script;
    }

    postMessage(message) {
      posted.push(message);
    }
  },
  navigator: {
    userAgent: "a phone",
    mediaDevices: {
      async getUserMedia(wanted) {
        asked.push(wanted);
        if (failure) throw Object.assign(new Error("no"), { name: failure });
        const made = new Track();
        track = made;
        return { getVideoTracks: () => [made] };
      },
    },
  },
  performance: { now: () => now },
  requestAnimationFrame: (work) => { onFrame = work; },
  createImageBitmap: async (source) => {
    if (source?.isBroken) throw new Error("broken");
    bitmaps += 1;
    return new Bitmap(`bitmap ${bitmaps}`);
  },
  ImageData: class {
    constructor(width, height) {
      Object.assign(this, { width, height, data: new Uint8ClampedArray(4 * width * height) });
    }
  },
  indexedDB: { open: () => request(database) },
  confirm: () => true,
  FileReader: class {
    readAsDataURL(blob) {
      this.result = `data:${blob}`;
      setImmediate(() => (blob.isBroken ? this.onerror() : this.onload()));
    }
  },
  URL: { createObjectURL: (blob) => { downloads.push(blob); return "blob:1"; }, revokeObjectURL() {} },
});

await import(pathToFileURL(process.argv[2]));
const makeElement = document.createElement;
document.createElement = (tag) => Object.assign(makeElement(tag), { toBlob: (done, kind, quality) => done(`${kind} ${quality}`) });

const labels = ["melanoma", "nevus", "none of these"];
const app = {
  manifest: { labels, architecture: "a-network", input_size: 192, licence: "a licence" },
  sha256: { "model.tflite": "0123456789abcdef0123" },
  evidence: { shape: [2, 2] },
};

function shown() {
  return {
    title: element("title").textContent,
    hint: element("hint").textContent,
    spoken: element("spoken").textContent,
    run: element("run").textContent,
    areBarsHidden: element("bars").hidden,
    bars: element("bars").children.map(({ className, children }) => [
      className, children[0].textContent, children[1].value, children[1].properties["--class"], children[2].textContent]),
    crop: element("crop").properties["--share"] ?? null,
    colour: element("reticle").properties["--state"] ?? null,
    isKeepOff: element("keep").disabled,
    isWhereOff: element("where").disabled,
    isStillHidden: element("still").hidden,
    isExportOff: element("export-latencies").disabled,
  };
}

const seen = {};
const see = (name) => { seen[name] = shown(); };
const tell = (data) => worker.onmessage({ data });
const classification = (index, probabilities, more = {}) => ({
  index, probabilities, label: labels[index], headline: { title: labels[index], nearest: null }, alert: null, view: null,
  uncertain: false, heat: [0, 0.5, 1, 0.25], timing: { preprocess: 1, invoke: 7 }, ...more,
});
const crop = { top: 16, left: 96, side: 448, width: 640, height: 480 };
const melanoma = classification(0, [0.616, 0.284, 0.1], { alert: "melanoma", view: "close-up" });
const doubt = classification(1, [0.3, 0.45, 0.25], {
  uncertain: true, view: "dermoscopic", headline: { title: "not clear", nearest: "melanoma" },
});

async function frame(nowMs) {
  now = nowMs;
  await onFrame(nowMs);
  await settled();
  return posted.at(-1);
}

element("export-latencies").disabled = true;
element("video").videoWidth = 0;
seen.script = worker.script;
tell({ kind: "ready", app });
seen.facts = element("facts").children.map((one) => one.textContent);
see("ready");

await element("run").click();
await settled();
see("started");
seen.wanted = asked[0];
seen.zoom = ["min", "max", "step", "value"].map((name) => element("zoom")[name]);
seen.offered = [element("torch").hidden, element("zoom-row").hidden];
await frame(1100);
seen.posts = posted.map(({ kind }) => kind);
Object.assign(element("video"), { videoWidth: 640, videoHeight: 480 });
const first = await frame(1200);
seen.first = { kind: first.kind, atS: first.atS, bitmap: first.bitmap };
await frame(1240);
seen.whileBusy = posted.length;
tell({ kind: "result", number: first.number, totalMs: 30, bitmap: new Bitmap("moving"),
  result: { state: "hold still", hint: "hold still", agrees: false, crop, classification: null } });
see("moving");
tell({ kind: "result", number: first.number, totalMs: 30, bitmap: first.bitmap,
  result: { state: "answer", hint: "", agrees: true, crop, classification: melanoma } });
see("answer");

const second = await frame(1300);
tell({ kind: "result", number: second.number, totalMs: 30, bitmap: second.bitmap,
  result: { state: "answer", hint: "hold still", agrees: false, crop, classification: doubt } });
see("held");
seen.bitmaps = [first.bitmap.isClosed, second.bitmap.isClosed];

element("where").click();
seen.heat = [element("heat").hidden, [...element("heat").drawn.at(-1).data]];
element("where").click();
seen.heat.push(element("heat").hidden);

tell({ kind: "result", number: first.number - 1, totalMs: 30, bitmap: new Bitmap("old"),
  result: { state: "searching", hint: "", agrees: false, crop, classification: null } });
see("old");
element("view").fire("click", { offsetX: 100, offsetY: 50 });
const isTorchOn = () => element("torch").getAttribute("aria-pressed");
seen.torch = [isTorchOn()];
await element("torch").click();
seen.torch.push(isTorchOn());
await element("torch").click();
seen.torch.push(isTorchOn());
isRefusing = true;
await element("torch").click();
seen.torch.push(isTorchOn());
isRefusing = false;
element("zoom").value = "2.5";
element("zoom").fire("input");
seen.applied = applied;

await element("run").click();
// this late answer belongs to a frame that was sent before the freeze
tell({ kind: "result", number: second.number, totalMs: 30, bitmap: new Bitmap("late"),
  result: { state: "searching", hint: "", agrees: false, crop, classification: null } });
see("frozen");
seen.square = element("still").drawn.at(-1).slice(1);
isDiskFull = true;
await element("keep").click();
see("full");
isDiskFull = false;
await element("keep").click();
see("kept");
seen.keep = element("keep").textContent;
seen.stored = [{ ...stored[0], at: typeof stored[0].at }];
stored.push({ at: "2026-11-29T22:36:02Z", label: "nevus", probabilities: { nevus: 0.906 }, picture: "old" });
stored.push({ at: "2026-11-29T22:36:01Z", label: "nevus", probabilities: { nevus: 0.7 }, picture: { isBroken: true } });
await element("open-history").click();
seen.labels = element("history-list").children.map(({ children }) => children[0].attributes["aria-label"]);
seen.history = element("history-list").children.map(({ children }) => [
  children[1].own, children[1].children[0].textContent]);
seen.local = new Date("2026-11-29T22:36:02Z").toLocaleString();
await element("export").click();
seen.exported = JSON.parse(await downloads.at(-1).text()).answers.map(({ label, picture }) => [label, picture]);
await element("erase").click();
seen.erased = [stored.length, element("history-empty").hidden, element("export").disabled];
isDiskFull = true;
for (const id of ["open-history", "export", "erase"]) {
  await element(id).click();
  see(`refused ${id}`);
}
isDiskFull = false;

await element("run").click();
await settled();
seen.modes = [element("run").textContent];
seen.zoomAfterFreeze = element("zoom").value;
for (let number = 0; number < 132; number++) {
  const { number: generation, bitmap } = await frame(5000 + number);
  if (number === 129) see("nearly");
  if (number === 130) see("enough");
  tell({ kind: "result", number: generation, totalMs: 40, bitmap,
    result: { state: "uncertain", hint: "", agrees: true, crop, classification: doubt } });
}
await element("export-latencies").click();
seen.latency = JSON.parse(await downloads.at(-1).text()).rows[0].latency;

const silence = timers.find(({ isRepeated }) => isRepeated);
seen.every = silence.ms;
now = 5131 + 1999;
silence.work();
const before = posted.length;
now = 5131 + 2000;
silence.work();
seen.silent = [posted.length - before, posted.at(-1).kind, posted.at(-1).reason, track.isStopped, element("run").textContent];
tell({ kind: "result", number: posted.at(-1).number, totalMs: 1, bitmap: null,
  result: { state: "camera lost", hint: "why", agrees: false, crop: null, classification: null } });
see("lost");

failure = "NotAllowedError";
await element("run").click();
await settled();
seen.refused = posted.at(-1).reason;
failure = null;
await element("run").click();
await settled();
await element("torch").click();
document.hidden = true;
listeners.visibilitychange();
see("hidden");
seen.isStoppedWhenHidden = track.isStopped;
document.hidden = false;
await element("run").click();
await settled();
seen.torch.push(isTorchOn());
applied.pop();
track.onended();
seen.ended = posted.at(-1).reason;
const opened = asked.length;
await element("run").click();
await settled();
seen.reopened = asked.length - opened;

await element("file").fire("change", { target: { files: [{ name: "a.jpg" }], value: "a.jpg" } });
await settled();
see("photo");
seen.sent = posted.at(-1).kind;

// the page is hidden while the camera opens; after this, a photo is chosen while it opens
element("run").click();
document.hidden = true;
listeners.visibilitychange();
await settled();
seen.leftWhileOpening = [track.isStopped, element("run").textContent];
document.hidden = false;
element("run").click();
await element("file").fire("change", { target: { files: [{ name: "a.jpg" }], value: "a.jpg" } });
await settled();
seen.chosenWhileOpening = [track.isStopped, element("run").textContent];
element("run").click();
element("run").click();
await settled();
seen.startedTwice = [track.isStopped, element("run").textContent];

await element("file").fire("change", { target: { files: [{ name: "b.txt", isBroken: true }], value: "b.txt" } });
await settled();
see("broken");
tell({ kind: "failed", reason: "no memory" });
see("failed");
seen.off = ["run", "choose", "keep", "where"].map((id) => element(id).disabled);
process.stdout.write(JSON.stringify(seen));
