// Runs the .tflite model on LiteRT.js. The model and LiteRT.js are used only if their digests are those in app.json.

// The error if a file does not have the digest in app.json. The message is shown to the user.
export class Refused extends Error {}

export async function checked(name, bytes, sha256) {
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  const hex = Array.from(new Uint8Array(digest), (one) => one.toString(16).padStart(2, "0")).join("");
  if (hex !== sha256) {
    throw new Refused(
      `${name} is not the file that this page was built with; clear the data of this page, and load the page again`);
  }
  return bytes;
}

// LiteRT also reports information and warnings through console.error. They are moved to console.debug.
function log(line) {
  (/^(INFO|WARNING): /.test(line) ? console.debug : console.error)(line);
}

// Tells which output of the network is which: returns an object from the name to the index of the output. Returns null
// if the shapes of the outputs are not those of a classifier. The rules are the same as in `output_places` of
// edge/model/signature.py.
export function outputPlaces(shapes) {
  if (shapes.length === 1 && shapes[0].length === 4 && shapes[0][1] === 1 && shapes[0][2] === 1) {
    return { probabilities: 0 };
  }
  const places = shapes.map((_, place) => place);
  const flat = places.filter((place) => shapes[place].length === 2);
  const maps = places.filter((place) => shapes[place].length === 4);
  const closeUp = flat.length === 2 ? flat.filter((place) => shapes[place][1] === 1) : [];
  const rest = flat.filter((place) => !closeUp.includes(place));
  if (closeUp.length > 1 || rest.length !== 1 || maps.length > 1 || flat.length + maps.length !== shapes.length) {
    return null;
  }
  const found = { probabilities: rest, evidence: maps, close_up: closeUp };
  return Object.fromEntries(Object.entries(found).filter(([, some]) => some.length).map(([name, [one]]) => [name, one]));
}

// Opens the network, and returns a function that runs it. This function takes a Uint8Array [size, size, 3] and returns
// the quantized outputs { probabilities, evidence, close_up }. The last two are null if the model does not have them.
//
// `litert` is the module of LiteRT.js, and `script` is the URL of its loader. By default, LiteRT.js would use WebGPU,
// where the results of int8 models are not exact. Therefore, the network runs on WebAssembly.
export async function openNetwork(litert, script, wasmBinary, model, size) {
  self.Module = { wasmBinary, printErr: log };
  await litert.loadLiteRt(script);
  const compiled = await litert.loadAndCompile(model, { accelerator: "wasm" });
  const places = outputPlaces(compiled.getOutputDetails().map(({ shape }) => Array.from(shape)));
  return async (input) => {
    const tensor = new litert.Tensor(input, [1, size, size, 3]);
    const outputs = await compiled.run([tensor]);
    const values = outputs.map((one) => one.toTypedArray());
    for (const one of [tensor, ...outputs]) one.delete();
    const [probabilities, evidence, closeUp] = ["probabilities", "evidence", "close_up"].map(
      (name) => values[places[name]] ?? null);
    return { probabilities, evidence, close_up: closeUp };
  };
}
