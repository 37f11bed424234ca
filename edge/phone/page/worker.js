// Computes beside the page, so that it stays smooth. A classic worker, because LiteRT.js brings its WASM in by
// importScripts, which module workers lack.

const bytesOf = async (name) => {
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name} cannot be loaded (${response.status}); load the page again`);
  return new Uint8Array(await response.arrayBuffer());
};

async function open() {
  const [{ Pipeline }, { checked, openNetwork }, litert, app] = await Promise.all([
    import("./pipeline.js"), import("./network.js"), import("./litert/index.js"),
    fetch("app.json").then((response) => response.json()),
  ]);
  const [model, wasm] = await Promise.all(["model.tflite", "litert/litert_wasm_compat_internal.wasm"].map(
    async (name) => checked(name, await bytesOf(name), app.sha256[name])));
  const script = new URL("litert/litert_wasm_compat_internal.js", self.location.href).href;
  const run = await openNetwork(litert, script, wasm, model, app.manifest.input_size);
  return new Pipeline(app, run);
}

const canvas = new OffscreenCanvas(1, 1);
const context = canvas.getContext("2d", { willReadFrequently: true });

function pixelsOf(bitmap) {
  Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
  context.drawImage(bitmap, 0, 0);
  const { width, height } = bitmap;
  return context.getImageData(0, 0, width, height);
}

const opened = open();
opened.then(({ app }) => postMessage({ kind: "ready", app }),
  (error) => postMessage({ kind: "failed", reason: error.message }));

// One after the other: the network has one input.
let last = opened;
self.onmessage = ({ data }) => {
  last = last.then(() => answer(data)).catch((error) => postMessage({ kind: "failed", reason: error.message }));
};

async function answer({ kind, number, bitmap, atS, reason }) {
  const pipeline = await opened;
  const started = performance.now();
  let moment = null;
  if (kind === "reset") pipeline.reset();
  if (kind === "lost") moment = pipeline.lost(reason);
  if (kind === "live") moment = await pipeline.live(pixelsOf(bitmap), atS);
  if (kind === "still") moment = await pipeline.still(pixelsOf(bitmap));
  const totalMs = performance.now() - started;
  if (kind === "still") bitmap.close();
  // a live one goes back with the moment that is of it
  const back = kind === "live" ? [bitmap] : [];
  if (moment) postMessage({ kind: "moment", number, moment, bitmap: back[0] ?? null, totalMs }, back);
}
