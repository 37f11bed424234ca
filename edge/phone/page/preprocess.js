// From a picture to what the network sees: the law of edge/preprocess.py, to the bit.

export const PREPROCESSING = "centre square less a rest of 1/15, 2x2 means, exact bilinear, RGB, uint8";
const MAX_TRIM = 1 / 15;
// OpenCV's exact bilinear has 8 bits behind the point in each direction.
const ONE = 256;

// The part of a picture that the network sees, in pixels.
export function seenSquare(height, width, size) {
  let side = Math.min(height, width);
  const halvings = Math.max(0, 31 - Math.clz32(Math.floor(side / size)));
  const halved = size * 2 ** halvings;
  if (side - halved > 0 && side - halved <= side * MAX_TRIM) side = halved;
  return { top: Math.floor((height - side) / 2), left: Math.floor((width - side) / 2), side };
}

// Uint8Array [size, size, 3] of an ImageData, or of what has its data, width and height.
export function toInput({ data, width, height }, size) {
  const { top, left, side: seen } = seenSquare(height, width, size);
  // one type of array throughout, or the loops below are compiled for two
  const bytes = new Uint8Array(data.buffer, data.byteOffset + (top * width + left) * 4);
  let square = { data: bytes, row: width * 4, step: 4 };
  let side = seen;
  while (side >= 2 * size) {
    side = Math.floor(side / 2);
    square = { data: halve(square, side), row: side * 3, step: 3 };
  }
  if (side !== size) return bilinear(square, side, size);
  return square.step === 3 ? square.data : withoutAlpha(square, side);
}

function halve({ data, row, step }, side) {
  const means = new Uint8Array(side * side * 3);
  let at = 0;
  for (let y = 0; y < side; y++) {
    let upper = 2 * y * row;
    let lower = upper + row;
    // channel by channel by hand: an inner loop takes half as long again
    for (let x = 0; x < side; x++, upper += 2 * step, lower += 2 * step, at += 3) {
      means[at] = (data[upper] + data[upper + step] + data[lower] + data[lower + step] + 2) >> 2;
      means[at + 1] = (data[upper + 1] + data[upper + step + 1] + data[lower + 1] + data[lower + step + 1] + 2) >> 2;
      means[at + 2] = (data[upper + 2] + data[upper + step + 2] + data[lower + 2] + data[lower + step + 2] + 2) >> 2;
    }
  }
  return means;
}

// For each pixel of a side its two neighbours in the picture, and the weight of the second.
function taps(from, to) {
  const [firsts, seconds, weights] = [new Int32Array(to), new Int32Array(to), new Int32Array(to)];
  const scale = 1 / (to / from);
  for (let index = 0; index < to; index++) {
    const place = scale * (index + 0.5) - 0.5;
    const first = Math.floor(place);
    const isWithin = first >= 0 && first < from - 1;
    firsts[index] = Math.min(Math.max(first, 0), from - 1);
    seconds[index] = firsts[index] + isWithin;
    weights[index] = isWithin ? roundHalfToEven((place - first) * ONE) : 0;
  }
  return { firsts, seconds, weights };
}

function roundHalfToEven(value) {
  const low = Math.floor(value);
  if (value - low !== 0.5) return Math.round(value);
  return low % 2 ? low + 1 : low;
}

function bilinear(square, from, to) {
  const axis = taps(from, to);
  const resized = new Uint8Array(to * to * 3);
  // rows of the picture that are resized across: each is used at once or by the next row
  let [upper, lower] = [new Uint16Array(to * 3), new Uint16Array(to * 3)];
  let [upperY, lowerY] = [-1, -1];
  for (let y = 0, at = 0; y < to; y++) {
    const [first, second, weight] = [axis.firsts[y], axis.seconds[y], axis.weights[y]];
    if (first === lowerY) [upper, upperY, lower, lowerY] = [lower, lowerY, upper, upperY];
    if (first !== upperY) resizeRow(square, first, axis, upper);
    if (second !== lowerY) resizeRow(square, second, axis, lower);
    [upperY, lowerY] = [first, second];
    for (let x = 0; x < to * 3; x++) {
      resized[at++] = ((ONE - weight) * upper[x] + weight * lower[x] + 0x8000) >>> 16;
    }
  }
  return resized;
}

function resizeRow({ data, row, step }, y, { firsts, seconds, weights }, line) {
  for (let x = 0, at = 0; x < firsts.length; x++, at += 3) {
    const [first, second, weight] = [y * row + firsts[x] * step, y * row + seconds[x] * step, weights[x]];
    line[at] = (ONE - weight) * data[first] + weight * data[second];
    line[at + 1] = (ONE - weight) * data[first + 1] + weight * data[second + 1];
    line[at + 2] = (ONE - weight) * data[first + 2] + weight * data[second + 2];
  }
}

function withoutAlpha({ data, row }, side) {
  const rgb = new Uint8Array(side * side * 3);
  let at = 0;
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      for (let channel = 0; channel < 3; channel++) rgb[at++] = data[y * row + 4 * x + channel];
    }
  }
  return rgb;
}
