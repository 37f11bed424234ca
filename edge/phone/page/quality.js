// Whether a picture is worth an answer: the measures and limits of edge/quality.py.

import { toInput } from "./preprocess.js";

const SIZE = 112;
const PERCENTILE = 0.95;
const CLIPPED = 250;
const WHITE = 245;
const RIM = 0.84;
const MOTION_GAP_S = 0.5;

// On the grid: the reticle, its rim, and the weight of each pixel, in float32 as NumPy computes them.
const reticle = new Uint8Array(SIZE * SIZE);
const rim = new Uint8Array(SIZE * SIZE);
const weights = new Float32Array(SIZE * SIZE);
for (let y = 0, at = 0; y < SIZE; y++) {
  for (let x = 0; x < SIZE; x++, at++) {
    const reach = Math.fround(Math.sqrt((x - (SIZE - 1) / 2) ** 2 + (y - (SIZE - 1) / 2) ** 2));
    const radius = Math.fround(reach / (SIZE / 2));
    reticle[at] = radius <= 1;
    rim[at] = radius > Math.fround(RIM) && radius <= 1;
    weights[at] = Math.max(Math.fround(1 - Math.fround(radius * radius)), Math.fround(0.02));
  }
}
const count = (mask) => mask.reduce((total, one) => total + one, 0);
const pixels = count(reticle);
const rimPixels = count(rim);

// The first thing to mend, or null where the picture is worth an answer.
export function judge(measures) {
  const isShade = measures.contrast < 16 && measures.cut > 0.3;
  const failing = [
    [measures.light < 16, "black"],
    [measures.light < 72, "too dark"],
    [measures.clipped > 0.65, "too bright"],
    [measures.glare > 0.006, "glare"],
    [measures.contrast < 12 || isShade || measures.area > 0.9, "no lesion"],
    [measures.cut > 0.2 && measures.offset > 0.55, "lesion cut"],
    [measures.offset > 0.65, "off centre"],
    [measures.area < 0.015, "too small"],
    [measures.speed !== null && measures.speed > 0.3, "moving"],
    [measures.sharpness < 3.4, "out of focus"],
  ];
  return failing.find(([fails]) => fails)?.[1] ?? null;
}

export class QualityGate {
  #before = null;

  // atS is null for a picture that follows no other.
  check(image, atS) {
    return judge(this.measure(image, atS));
  }

  measure(image, atS) {
    const rgb = toInput(image, SIZE);
    const grey = new Uint8Array(SIZE * SIZE);
    const histogram = new Float64Array(256);
    let clipped = 0;
    let glare = 0;
    for (let at = 0; at < grey.length; at++) {
      const red = rgb[3 * at];
      const green = rgb[3 * at + 1];
      const blue = rgb[3 * at + 2];
      grey[at] = (red * 9798 + green * 19235 + blue * 3735 + 0x4000) >> 15;
      if (!reticle[at]) continue;
      histogram[grey[at]]++;
      clipped += Math.max(red, green, blue) >= CLIPPED;
      glare += Math.min(red, green, blue) >= WHITE;
    }
    const [threshold, contrast] = otsu(histogram);
    return {
      light: percentile(histogram),
      clipped: clipped / pixels,
      glare: glare / pixels,
      contrast,
      ...lesion(grey, threshold),
      sharpness: sharpness(grey),
      speed: this.#speed(grey, atS),
    };
  }

  #speed(grey, atS) {
    const before = this.#before;
    this.#before = atS === null ? null : { atS, grey };
    const elapsed = before && atS !== null ? atS - before.atS : 0;
    if (elapsed <= 0 || elapsed > MOTION_GAP_S) return null;
    let change = 0;
    let across = 0;
    let down = 0;
    for (let at = 0; at < grey.length; at++) {
      if (reticle[at]) change += Math.abs(grey[at] - before.grey[at]);
      if (at % SIZE) across += Math.abs(grey[at] - grey[at - 1]);
      if (at >= SIZE) down += Math.abs(grey[at] - grey[at - SIZE]);
    }
    const neighbours = SIZE * (SIZE - 1);
    const gradient = Math.max((across / neighbours + down / neighbours) / 2, 1);
    return change / pixels / gradient / SIZE / elapsed;
  }
}

function percentile(histogram) {
  let below = 0;
  return histogram.findIndex((one) => (below += one) >= PERCENTILE * pixels);
}

// Otsu's threshold, and the difference of the means of its two sides.
function otsu(histogram) {
  const total = count(histogram);
  const all = histogram.reduce((sum, one, level) => sum + one * level, 0);
  let [below, sum, best, threshold, contrast] = [0, 0, 0, 0, 0];
  for (let level = 0; level < 256; level++) {
    below += histogram[level];
    sum += histogram[level] * level;
    const above = total - below;
    if (!below || !above) continue;
    const difference = (all - sum) / above - sum / below;
    const between = below * above * difference ** 2;
    if (between > best) [best, threshold, contrast] = [between, level, difference];
  }
  return [threshold, contrast];
}

// A row or column beyond the edge is the one as far within, as OpenCV's default border has it.
const within = (index) => (index < 0 ? -index : index >= SIZE ? 2 * SIZE - 2 - index : index);
const before = Int32Array.from({ length: SIZE }, (_, index) => within(index - 1));
const after = Int32Array.from({ length: SIZE }, (_, index) => within(index + 1));

function sharpness(grey) {
  let total = 0;
  for (let y = 0, at = 0; y < SIZE; y++) {
    const [row, upper, lower] = [y * SIZE, before[y] * SIZE, after[y] * SIZE];
    for (let x = 0; x < SIZE; x++, at++) {
      if (!reticle[at]) continue;
      total += Math.abs(grey[row + before[x]] + grey[row + after[x]] + grey[upper + x] + grey[lower + x] - 4 * grey[at]);
    }
  }
  return total / pixels;
}

// What the reticle holds at or below the threshold, smoothed over 3 x 3 pixels.
function darkPixels(grey, threshold) {
  const dark = new Uint8Array(SIZE * SIZE);
  const columns = new Uint16Array(SIZE);
  for (let y = 0, at = 0; y < SIZE; y++) {
    const [row, upper, lower] = [y * SIZE, before[y] * SIZE, after[y] * SIZE];
    for (let x = 0; x < SIZE; x++) columns[x] = grey[row + x] + grey[upper + x] + grey[lower + x];
    for (let x = 0; x < SIZE; x++, at++) {
      if (!reticle[at]) continue;
      dark[at] = Math.round((columns[before[x]] + columns[x] + columns[after[x]]) / 9) <= threshold;
    }
  }
  return dark;
}

// Area, offset and share of the rim of the connected dark part that weighs most.
function lesion(grey, threshold) {
  const dark = darkPixels(grey, threshold);
  let heaviest = null;
  for (let at = 0; at < dark.length; at++) {
    if (!dark[at]) continue;
    const part = takePart(dark, at);
    if (!heaviest || part.weight > heaviest.weight) heaviest = part;
  }
  if (!heaviest) return { area: 0, offset: 0, cut: 0 };
  const middle = (SIZE - 1) / 2;
  const { area, x, y, onRim } = heaviest;
  return {
    area: area / pixels,
    offset: Math.hypot(x / area - middle, y / area - middle) / (SIZE / 2),
    cut: onRim / rimPixels,
  };
}

// Takes the part that is connected with a pixel out of the dark ones.
function takePart(dark, start) {
  const found = [start];
  const part = { area: 0, x: 0, y: 0, onRim: 0, weight: 0 };
  dark[start] = 0;
  while (found.length) {
    const at = found.pop();
    const x = at % SIZE;
    part.area += 1;
    part.x += x;
    part.y += (at - x) / SIZE;
    part.onRim += rim[at];
    part.weight += weights[at];
    const neighbours = [at - SIZE, at + SIZE, x ? at - 1 : -1, x < SIZE - 1 ? at + 1 : -1];
    for (const next of neighbours) {
      if (dark[next]) {
        dark[next] = 0;
        found.push(next);
      }
    }
  }
  return part;
}
