// Sends frames to the worker of the app, like frames of a camera, and sends the times of all answers to the server.

const REPEATS = 8;
const FRAME_S = 1 / 30;

const worker = new Worker("worker.js");
const said = () => new Promise((resolve, reject) => {
  worker.onmessage = ({ data }) => (data.kind === "failed" ? reject(new Error(data.reason)) : resolve(data));
});

// Lets the worker classify a canvas. Returns [page, worker, run] in ms, or null if the quality gate rejected it.
async function timesOf(canvas, number, atS) {
  const started = performance.now();
  const bitmap = await createImageBitmap(canvas);
  const answer = said();
  worker.postMessage({ kind: "live", number, bitmap, atS }, [bitmap]);
  const { result: frameResult, bitmap: back, totalMs } = await answer;
  const page = performance.now() - started;
  back.close();
  return frameResult.classification && [page, totalMs, frameResult.classification.timing.invoke];
}

async function canvasOf(name) {
  const bitmap = await createImageBitmap(await (await fetch(name)).blob());
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  return canvas;
}

// Each canvas is classified REPEATS times in a row, as if the camera were held still.
async function measure({ frames, rounds }) {
  await said();
  const canvases = await Promise.all(frames.map(canvasOf));
  const times = [];
  let atS = 0;
  for (let round = 0; round < rounds; round++) {
    for (const [number, canvas] of canvases.entries()) {
      worker.postMessage({ kind: "reset" });
      for (let repeat = 0; repeat < REPEATS; repeat++) {
        times.push(await timesOf(canvas, number, atS));
        atS += FRAME_S;
      }
    }
  }
  return { agent: navigator.userAgent, times };
}

const work = await (await fetch("work.json")).json();
const result = await measure(work).catch((error) => ({ error: String(error) }));
await fetch("measured", { method: "POST", body: JSON.stringify(result) });
