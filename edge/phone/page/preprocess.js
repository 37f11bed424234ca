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
  const square = { data: bytes, row: width * 4, step: 4 };
  return seen === size ? withoutAlpha(square, size) : reduced(square, seen, size, 3);
}

// Uint8Array [size, size, channels] of a square picture, whose rows begin `row` and pixels `step` bytes apart.
export function reduced(square, from, size, channels) {
  let side = from;
  while (side >= 2 * size) {
    side = Math.floor(side / 2);
    square = { data: halve(square, side, channels), row: side * channels, step: channels };
  }
  return side === size ? square.data : bilinear(square, side, size, channels);
}

// Here and below the channels of a row come one after another: innermost, they take half as long again.
function halve({ data, row, step }, side, channels) {
  const means = new Uint8Array(side * side * channels);
  for (let y = 0; y < side; y++) {
    for (let channel = 0; channel < channels; channel++) {
      let upper = 2 * y * row + channel;
      let lower = upper + row;
      let at = y * side * channels + channel;
      for (let x = 0; x < side; x++, upper += 2 * step, lower += 2 * step, at += channels) {
        means[at] = (data[upper] + data[upper + step] + data[lower] + data[lower + step] + 2) >> 2;
      }
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

function bilinear(square, from, to, channels) {
  const axis = taps(from, to);
  const length = to * channels;
  const resized = new Uint8Array(to * length);
  // rows of the picture that are resized across: each is used at once or by the next row
  let [upper, lower] = [new Uint16Array(length), new Uint16Array(length)];
  let [upperY, lowerY] = [-1, -1];
  for (let y = 0, at = 0; y < to; y++) {
    const [first, second, weight] = [axis.firsts[y], axis.seconds[y], axis.weights[y]];
    if (first === lowerY) [upper, upperY, lower, lowerY] = [lower, lowerY, upper, upperY];
    if (first !== upperY) resizeRow(square, first, axis, upper, channels);
    if (second !== lowerY) resizeRow(square, second, axis, lower, channels);
    [upperY, lowerY] = [first, second];
    for (let x = 0; x < length; x++) {
      resized[at++] = ((ONE - weight) * upper[x] + weight * lower[x] + 0x8000) >>> 16;
    }
  }
  return resized;
}

function resizeRow({ data, row, step }, y, { firsts, seconds, weights }, line, channels) {
  for (let channel = 0; channel < channels; channel++) {
    const from = y * row + channel;
    for (let x = 0, at = channel; x < firsts.length; x++, at += channels) {
      line[at] = (ONE - weights[x]) * data[from + firsts[x] * step] + weights[x] * data[from + seconds[x] * step];
    }
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
