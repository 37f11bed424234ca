// Tells whether an image is good enough for an answer. The measures and limits are the same as in edge/quality.py.

import { reduced } from "./preprocess.js";

const GRID = 96;
const COARSE = 48;
const BINS = 64;
const LEVELS = 4;
const LIGHTER = 0.05;
const CLIPPED = 240;
const WHITE = 252;
const RIM = 0.84;
const LEAST_WEIGHT = 0.02;
const MOTION_GAP_S = 0.5;

// Returns the squared distance of each cell from the middle of a grid. The unit is the radius of the reticle, the circle
// in which the user should place the lesion.
function squaredRadii(side) {
  const reach = (index) => (2 * index - (side - 1)) ** 2;
  return Float64Array.from({ length: side * side },
    (_, at) => (reach(at % side) + reach(Math.floor(at / side))) / side ** 2);
}

const count = (mask) => mask.reduce((total, one) => total + one, 0);
const reticle = Uint8Array.from(squaredRadii(GRID), (squared) => squared <= 1);
const coarseRadii = squaredRadii(COARSE);
const coarseReticle = Uint8Array.from(coarseRadii, (squared) => squared <= 1);
const rim = Uint8Array.from(coarseRadii, (squared) => squared > RIM * RIM && squared <= 1);
const weights = coarseRadii.map((squared) => Math.max(1 - squared, LEAST_WEIGHT));
const pixels = count(reticle);
const coarsePixels = count(coarseReticle);
const rimPixels = count(rim);

// The quality gate can check a square image only if its width is at least this many pixels.
export const LEAST_SIZE = GRID;

// Returns the defect that the user should mend first, or null if the image is good enough for an answer.
export function judge(measures) {
  const isShade = measures.contrast < 16 && measures.cut > 0.3;
  const failing = [
    [measures.light < 16, "black"],
    [measures.light < 72, "too dark"],
    [measures.clipped > 0.3, "too bright"],
    [measures.glare > 0.003, "glare"],
    [measures.contrast < 12 || isShade || measures.area > 0.9, "no lesion"],
    [measures.cut > 0.2 && measures.offset > 0.55, "lesion cut"],
    [measures.offset > 0.65, "off centre"],
    [measures.area < 0.015, "too small"],
    [measures.speed !== null && measures.speed > 0.3, "moving"],
    [measures.sharpness < 5 || measures.texture < 3.2, "out of focus"],
  ];
  return failing.find(([fails]) => fails)?.[1] ?? null;
}

export class QualityGate {
  #before = null;

  // Returns the defect of a network input [size, size, 3], or null. `atS` is the time of the frame in seconds, or null
  // for a single photo.
  check(rgb, size, atS) {
    return judge(this.measure(rgb, size, atS));
  }

  measure(rgb, size, atS) {
    const grid = reduced({ data: greyOf(rgb, size), row: size, step: 1 }, size, GRID, 1);
    const coarse = reduced({ data: grid, row: GRID, step: 1 }, GRID, COARSE, 1);
    const counts = new Float64Array(BINS);
    grid.forEach((level, at) => { counts[Math.floor(level / LEVELS)] += reticle[at]; });
    const { threshold, contrast } = otsu(counts);
    return {
      light: light(counts),
      clipped: count(counts.subarray(CLIPPED / LEVELS)) / pixels,
      glare: count(counts.subarray(WHITE / LEVELS)) / pixels,
      contrast,
      ...lesion(coarse, threshold),
      ...focus(grid),
      speed: this.#speed(coarse, atS),
    };
  }

  #speed(coarse, atS) {
    const before = this.#before;
    this.#before = atS === null ? null : { atS, coarse };
    const elapsed = before && atS !== null ? atS - before.atS : 0;
    if (elapsed <= 0 || elapsed > MOTION_GAP_S) return null;
    let change = 0;
    let steps = 0;
    for (let at = 0; at < coarse.length; at++) {
      if (coarseReticle[at]) change += Math.abs(coarse[at] - before.coarse[at]);
      if (at % COARSE) steps += Math.abs(coarse[at] - coarse[at - 1]);
      if (at >= COARSE) steps += Math.abs(coarse[at] - coarse[at - COARSE]);
    }
    const gradient = Math.max(steps / (2 * COARSE * (COARSE - 1)), 1);
    return change / coarsePixels / gradient / COARSE / elapsed;
  }
}

// Returns the grey levels of an RGB image. The numbers are the same as those of OpenCV.
function greyOf(rgb, size) {
  const grey = new Uint8Array(size * size);
  for (let at = 0, from = 0; at < grey.length; at++, from += 3) {
    grey[at] = (rgb[from] * 9798 + rgb[from + 1] * 19235 + rgb[from + 2] * 3735 + 0x4000) >> 15;
  }
  return grey;
}

// Adds up the bins of a histogram from the lightest one down, until they hold more than the share LIGHTER of the
// pixels. Returns the lowest grey level of the last bin.
function light(counts) {
  let level = BINS - 1;
  let above = counts[level];
  while (above <= LIGHTER * pixels && level) above += counts[--level];
  return LEVELS * level;
}

// Returns Otsu's threshold, and the contrast. The contrast is the mean of the levels above the threshold minus the mean
// of the other levels.
function otsu(counts) {
  const total = count(counts);
  const whole = counts.reduce((sum, one, level) => sum + one * level, 0);
  let [below, part, best, threshold, contrast] = [0, 0, 0, 0, 0];
  for (let level = 0; level < BINS; level++) {
    if (!counts[level]) continue;
    below += counts[level];
    part += counts[level] * level;
    const above = total - below;
    if (!above) break;
    const difference = (whole - part) / above - part / below;
    const between = below * above * difference * difference;
    if (between > best) {
      [best, threshold, contrast] = [between, LEVELS * level + LEVELS - 1, LEVELS * difference];
    }
  }
  return { threshold, contrast };
}

// Returns the index of a row or column inside the grid. An index just outside the grid is mirrored at the edge, as with
// OpenCV's default border.
const within = (index) => (index < 0 ? -index : index >= GRID ? 2 * GRID - 2 - index : index);
const before = Int32Array.from({ length: GRID }, (_, index) => within(index - 1));
const after = Int32Array.from({ length: GRID }, (_, index) => within(index + 1));

// Returns the sharpness (the root mean square of the Laplacian) and the texture (the mean absolute value of the
// Laplacian).
function focus(grid) {
  let squares = 0;
  let total = 0;
  for (let y = 0, at = 0; y < GRID; y++) {
    const [row, upper, lower] = [y * GRID, before[y] * GRID, after[y] * GRID];
    for (let x = 0; x < GRID; x++, at++) {
      if (!reticle[at]) continue;
      const laplacian = grid[row + before[x]] + grid[row + after[x]] + grid[upper + x] + grid[lower + x] - 4 * grid[at];
      squares += laplacian ** 2;
      total += Math.abs(laplacian);
    }
  }
  return { sharpness: Math.sqrt(squares / pixels), texture: total / pixels };
}

// Finds the lesion. Returns the area of the lesion, its offset from the middle, and the share of the rim of the reticle
// that it covers. The pixels that are not lighter than the threshold form connected parts. The part with the greatest
// weight counts as the lesion.
function lesion(coarse, threshold) {
  const dark = coarse.map((level, at) => coarseReticle[at] && level <= threshold);
  let heaviest = null;
  for (let at = 0; at < dark.length; at++) {
    if (!dark[at]) continue;
    const part = takePart(dark, at);
    if (!heaviest || part.weight > heaviest.weight) heaviest = part;
  }
  if (!heaviest) return { area: 0, offset: 0, cut: 0 };
  const middle = (COARSE - 1) / 2;
  const { area, x, y, onRim } = heaviest;
  return {
    area: area / coarsePixels,
    offset: Math.hypot(x / area - middle, y / area - middle) / (COARSE / 2),
    cut: onRim / rimPixels,
  };
}

// Measures the connected part of the dark pixels that contains a pixel, and removes this part from the dark pixels.
function takePart(dark, start) {
  const found = [start];
  const part = { area: 0, x: 0, y: 0, onRim: 0, weight: 0 };
  dark[start] = 0;
  while (found.length) {
    const at = found.pop();
    const x = at % COARSE;
    part.area += 1;
    part.x += x;
    part.y += (at - x) / COARSE;
    part.onRim += rim[at];
    part.weight += weights[at];
    const neighbours = [at - COARSE, at + COARSE, x ? at - 1 : -1, x < COARSE - 1 ? at + 1 : -1];
    for (const next of neighbours) {
      if (dark[next]) {
        dark[next] = 0;
        found.push(next);
      }
    }
  }
  return part;
}
