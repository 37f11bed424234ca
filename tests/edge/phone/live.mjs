// Runs the page's pipeline on images, with a network whose outputs are given. Standard input: the first line is JSON
// { app, outputs, frames }, and the RGBA pixels of the frames follow. `outputs` maps the SHA-256 of an input to the
// levels of each output. A frame is { height, width, at_s, still }, or { lost }. Standard output: JSON { live, still }:
// one result for each frame, and one for each frame that is also taken as a photo.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

import { Pipeline } from "../../../edge/phone/page/pipeline.js";

const input = readFileSync(0);
let at = input.indexOf("\n") + 1;
const { app, outputs, frames } = JSON.parse(input.subarray(0, at));

async function run(pixels) {
  const { probabilities, evidence, close_up: closeUp } = outputs[createHash("sha256").update(pixels).digest("hex")];
  const levels = (one) => (one ? Uint8Array.from(one) : null);
  return { probabilities: levels(probabilities), evidence: levels(evidence), close_up: levels(closeUp) };
}

function shown({ state, hint, agrees, crop, classification }) {
  const { label, alert, view, probabilities, headline, index, heat } = classification ?? {};
  const answer = classification && {
    label, alert, view, probabilities, index, headline: [headline.title, headline.nearest], heat: heat && [...heat],
  };
  return { state, hint, agrees, crop: crop && [crop.top, crop.left, crop.side, crop.width, crop.height], answer };
}

const pipeline = new Pipeline(app, run);
const live = [];
const still = [];
for (const { height, width, at_s: atS, still: isPhoto, lost } of frames) {
  if (lost) {
    live.push(shown(pipeline.lost(lost)));
    continue;
  }
  const data = input.subarray(at, at + height * width * 4);
  at += data.length;
  live.push(shown(await pipeline.live({ data, height, width }, atS)));
  if (isPhoto) still.push(shown(await pipeline.still({ data, height, width })));
}
console.log(JSON.stringify({ live, still }));
