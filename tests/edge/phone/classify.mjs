// Classifies images with the files of a built app, in Node. Argument: the app's folder. Standard input: the first line
// is JSON, [{ height, width }], and the RGBA pixels of the images follow. Standard output: JSON, one result per image.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { runInThisContext } from "node:vm";

const folder = resolve(process.argv[2]);
const file = (name) => resolve(folder, name);

// Standard output has only the results, so debug messages go to standard error.
console.debug = console.error;
// LiteRT.js expects some of these globals, because it runs in a worker. Emscripten expects the others in Node.
globalThis.self = globalThis;
Object.assign(globalThis, { require: createRequire(import.meta.url), __dirname: folder });
globalThis.importScripts = (path) => runInThisContext(readFileSync(path, "utf8"), { filename: path });
globalThis.location = { href: pathToFileURL(`${folder}/`).href };

const load = (name) => import(pathToFileURL(file(name)));
const { checked, openNetwork } = await load("network.js");
const { Pipeline } = await load("pipeline.js");
const app = JSON.parse(readFileSync(file("app.json")));
const [model, wasm] = await Promise.all(["model.tflite", "litert/litert_wasm_compat_internal.wasm"].map(
  (name) => checked(name, new Uint8Array(readFileSync(file(name))), app.sha256[name])));
const run = await openNetwork(await load("litert/index.js"), file("litert/litert_wasm_compat_internal.js"), wasm,
  model, app.manifest.input_size);
const pipeline = new Pipeline(app, run);

const input = readFileSync(0);
let at = input.indexOf("\n") + 1;
const results = [];
for (const { height, width } of JSON.parse(input.subarray(0, at))) {
  const data = input.subarray(at, at + height * width * 4);
  at += data.length;
  const { hint, classification } = await pipeline.still({ data, height, width });
  results.push({
    hint, label: classification.label, alert: classification.alert, probabilities: classification.probabilities,
    heat: classification.heat && [...classification.heat], view: classification.view,
    levels: Object.fromEntries(
      Object.entries(classification.levels).filter(([, values]) => values).map(([name, values]) => [name, [...values]])),
  });
}
process.stdout.write(JSON.stringify(results), () => process.exit(0));
