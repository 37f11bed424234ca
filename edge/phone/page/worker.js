// Runs the network in a worker, so that the page stays responsive. This is a classic worker, because LiteRT.js loads
// its WebAssembly with importScripts, which module workers do not have.

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
// In Safari on an iPhone, a canvas with more pixels stays empty, and there is no error. Photos of newer iPhones have more
// pixels.
const MOST_PIXELS = 2 ** 24;

// Returns the pixels of the centre square of a frame. The network sees this square, or the middle of it. Equally many
// pixels are cut off at opposite edges. If the number of pixels to cut off is odd, this is impossible, and the pixels of
// the whole frame are returned.
function pixelsOf(bitmap) {
  const side = Math.min(bitmap.width, bitmap.height);
  const isEven = (bitmap.width - side) % 2 === 0 && (bitmap.height - side) % 2 === 0;
  const [width, height] = isEven ? [side, side] : [bitmap.width, bitmap.height];
  const rows = Math.min(height, Math.floor(MOST_PIXELS / width));
  // the size is set only if it changes, because setting it makes the browser allocate a new canvas
  if (canvas.width !== width || canvas.height !== rows) Object.assign(canvas, { width, height: rows });
  context.globalCompositeOperation = "copy";
  const read = (top) => {
    context.drawImage(bitmap, (width - bitmap.width) / 2, (height - bitmap.height) / 2 - top);
    return context.getImageData(0, 0, width, Math.min(rows, height - top));
  };
  if (rows === height) return read(0);
  const image = new ImageData(width, height);
  for (let top = 0; top < height; top += rows) image.data.set(read(top).data, 4 * width * top);
  return image;
}

const opened = open();
opened.then(({ app }) => postMessage({ kind: "ready", app }),
  (error) => postMessage({ kind: "failed", reason: error.message }));

// Requests are handled one after the other, because the network can only process one input at a time.
let last = opened;
self.onmessage = ({ data }) => {
  last = last.then(() => answer(data)).catch((error) => postMessage({ kind: "failed", reason: error.message }));
};

async function answer({ kind, number, bitmap, atS, reason }) {
  const pipeline = await opened;
  const started = performance.now();
  let result = null;
  if (kind === "reset") pipeline.reset();
  if (kind === "lost") result = pipeline.lost(reason);
  if (kind === "live") result = await pipeline.live(pixelsOf(bitmap), atS);
  if (kind === "still") result = await pipeline.still(pixelsOf(bitmap));
  const totalMs = performance.now() - started;
  if (kind === "still") bitmap.close();
  // a live frame is returned together with its result
  const back = kind === "live" ? [bitmap] : [];
  if (result) postMessage({ kind: "result", number, result, bitmap: back[0] ?? null, totalMs }, back);
}
