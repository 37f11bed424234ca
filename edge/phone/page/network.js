// The .tflite on LiteRT.js, and what it was built with: both are run only where their digests are right.

// A model and a runtime that are not those of app.json; the text is for a person.
export class Refused extends Error {}

export async function checked(name, bytes, sha256) {
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  const hex = Array.from(new Uint8Array(digest), (one) => one.toString(16).padStart(2, "0")).join("");
  if (hex !== sha256) {
    throw new Refused(`${name} is not the file that this page was built with; clear the page's data, and load it again`);
  }
  return bytes;
}

// LiteRT tells of its start on the channel for errors.
function log(line) {
  (/^(INFO|WARNING): /.test(line) ? console.debug : console.error)(line);
}

// A function from a Uint8Array [S, S, 3] to { probabilities, evidence } as the network leaves them.
//
// `litert` is the module of LiteRT.js, `script` the address of its loader. The WebGPU that it would choose by
// itself is not exact for int8.
export async function openNetwork(litert, script, wasmBinary, model, size) {
  self.Module = { wasmBinary, printErr: log };
  await litert.loadLiteRt(script);
  const compiled = await litert.loadAndCompile(model, { accelerator: "wasm" });
  const ranks = compiled.getOutputDetails().map(({ shape }) => shape.length);
  return async (input) => {
    const tensor = new litert.Tensor(input, [1, size, size, 3]);
    const outputs = await compiled.run([tensor]);
    const values = outputs.map((one) => one.toTypedArray());
    for (const one of [tensor, ...outputs]) one.delete();
    return { probabilities: values[ranks.indexOf(2)], evidence: values[ranks.indexOf(4)] ?? null };
  };
}
