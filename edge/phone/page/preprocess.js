// Turns an image into the input of the network. The numbers are bit-identical to those of edge/preprocess.py.

export const PREPROCESSING = "centre square less a rest of 1/15, 2x2 means, exact bilinear, RGB, uint8";
const MAX_TRIM = 1 / 15;
// OpenCV's exact bilinear resize uses 8 fractional bits in each direction.
const ONE = 256;
const RED_BLUE = 0xff00ff;
const GREEN = 0xff00;

// Returns the square of an image that the network sees, as { top, left, side } in pixels. `side` is the width of this
// square, and `size` is the width of the network's input.
export function cropSquare(height, width, size) {
  let side = Math.min(height, width);
  const halvings = Math.max(0, 31 - Math.clz32(Math.floor(side / size)));
  const halved = size * 2 ** halvings;
  if (side - halved > 0 && side - halved <= side * MAX_TRIM) side = halved;
  return { top: Math.floor((height - side) / 2), left: Math.floor((width - side) / 2), side };
}

// Returns the input of the network for an ImageData, or for an object with the same data, width and height. The input
// is a Uint8Array [size, size, 3] in RGB order.
export function toInput({ data, width, height }, size) {
  const { top, left, side } = cropSquare(height, width, size);
  const start = data.byteOffset + (top * width + left) * 4;
  if (side < 2 * size || start % 4) {
    // all arrays have the same type, because the loops below would be slower if they were compiled for two types
    const square = { data: new Uint8Array(data.buffer, start), row: width * 4, step: 4 };
    return side === size ? withoutAlpha(square, size) : reduced(square, side, size, 3);
  }
  const half = Math.floor(side / 2);
  const square = { data: halveWords(new Uint32Array(data.buffer, start), width, half), row: half * 3, step: 3 };
  return reduced(square, half, size, 3);
}

// Reduces a square image, which is `from` pixels wide, to a Uint8Array [size, size, channels]. In the image, the
// distance between two rows is `row` bytes, and the distance between two pixels is `step` bytes.
export function reduced(square, from, size, channels) {
  let side = from;
  while (side >= 2 * size) {
    side = Math.floor(side / 2);
    square = { data: halve(square, side, channels), row: side * channels, step: channels };
  }
  return side === size ? square.data : bilinear(square, side, size, channels);
}

// Does the same as `halve` for pixels that are 32-bit words with red in the lowest byte. Red and blue are added in one
// step, which is faster.
function halveWords(words, width, side) {
  const means = new Uint8Array(side * side * 3);
  for (let y = 0, at = 0; y < side; y++) {
    let upper = 2 * y * width;
    let lower = upper + width;
    for (let x = 0; x < side; x++, upper += 2, lower += 2, at += 3) {
      const a = words[upper];
      const b = words[upper + 1];
      const c = words[lower];
      const d = words[lower + 1];
      const redBlue = (a & RED_BLUE) + (b & RED_BLUE) + (c & RED_BLUE) + (d & RED_BLUE) + 0x20002;
      const green = (a & GREEN) + (b & GREEN) + (c & GREEN) + (d & GREEN) + 0x200;
      means[at] = redBlue >>> 2;
      means[at + 1] = green >>> 10;
      means[at + 2] = redBlue >>> 18;
    }
  }
  return means;
}

// Returns the means of 2 x 2 pixels. The loop over the channels contains the loop over the pixels of a row. The other
// way round, it would take 1.5 times as long.
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

// Each pixel of a resized row is a weighted mean of two neighbours in the input row. Returns the offsets of both
// neighbours and the weight of the second neighbour, for each pixel. The distance between two input pixels is `step`
// bytes.
function taps(from, to, step) {
  const firsts = new Int32Array(to);
  const seconds = new Int32Array(to);
  const weights = new Int32Array(to);
  const scale = 1 / (to / from);
  for (let index = 0; index < to; index++) {
    const place = scale * (index + 0.5) - 0.5;
    const first = Math.floor(place);
    const isWithin = first >= 0 && first < from - 1;
    const nearest = Math.min(Math.max(first, 0), from - 1);
    firsts[index] = nearest * step;
    seconds[index] = (nearest + isWithin) * step;
    weights[index] = isWithin ? roundHalfToEven((place - first) * ONE) : 0;
  }
  return { firsts, seconds, weights };
}

function roundHalfToEven(value) {
  const low = Math.floor(value);
  if (value - low !== 0.5) return Math.round(value);
  return low % 2 ? low + 1 : low;
}

function bilinear({ data, row, step }, from, to, channels) {
  const { firsts, seconds, weights } = taps(from, to, step);
  const length = to * channels;
  const resized = new Uint8Array(to * length);
  const across = channels === 3 ? resizeColours : resizeGrey;
  // two image rows that are already resized horizontally; the next output row may need them again
  let upper = new Uint16Array(length);
  let lower = new Uint16Array(length);
  let upperY = -1;
  let lowerY = -1;
  for (let y = 0; y < to; y++) {
    const first = firsts[y] / step;
    const second = seconds[y] / step;
    if (first === lowerY) [upper, upperY, lower, lowerY] = [lower, lowerY, upper, upperY];
    if (first !== upperY) across(data, first * row, firsts, seconds, weights, upper);
    if (second !== lowerY) across(data, second * row, firsts, seconds, weights, lower);
    upperY = first;
    lowerY = second;
    blend(upper, lower, weights[y], resized, y * length);
  }
  return resized;
}

// These loops are separate functions, and each channel has its own line. This is several times as fast as a loop over
// the channels.
function resizeColours(data, row, firsts, seconds, weights, line) {
  for (let x = 0, at = 0; x < firsts.length; x++, at += 3) {
    const weight = weights[x];
    const rest = ONE - weight;
    const first = row + firsts[x];
    const second = row + seconds[x];
    line[at] = rest * data[first] + weight * data[second];
    line[at + 1] = rest * data[first + 1] + weight * data[second + 1];
    line[at + 2] = rest * data[first + 2] + weight * data[second + 2];
  }
}

function resizeGrey(data, row, firsts, seconds, weights, line) {
  for (let x = 0; x < firsts.length; x++) {
    line[x] = (ONE - weights[x]) * data[row + firsts[x]] + weights[x] * data[row + seconds[x]];
  }
}

function blend(upper, lower, weight, resized, start) {
  const rest = ONE - weight;
  for (let x = 0; x < upper.length; x++) {
    resized[start + x] = (rest * upper[x] + weight * lower[x] + 0x8000) >>> 16;
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
