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

function halve({ data, row, step }, side, channels) {
  const means = new Uint8Array(side * side * channels);
  let at = 0;
  for (let y = 0; y < side; y++) {
    let from = 2 * y * row;
    for (let x = 0; x < side; x++, from += 2 * step) {
      for (let channel = from; channel < from + channels; channel++) {
        means[at++] = (data[channel] + data[channel + step] + data[channel + row]
          + data[channel + row + step] + 2) >> 2;
      }
    }
  }
  return means;
}

// For each pixel of a side its two neighbours in the picture, and the weight of the second.
function taps(from, to) {
  const scale = 1 / (to / from);
  return Array.from({ length: to }, (_, index) => {
    const place = scale * (index + 0.5) - 0.5;
    const first = Math.floor(place);
    if (first < 0) return { first: 0, second: 0, weight: 0 };
    if (first >= from - 1) return { first: from - 1, second: from - 1, weight: 0 };
    return { first, second: first + 1, weight: roundHalfToEven((place - first) * ONE) };
  });
}

function roundHalfToEven(value) {
  const low = Math.floor(value);
  if (value - low !== 0.5) return Math.round(value);
  return low % 2 ? low + 1 : low;
}

function bilinear({ data, row, step }, from, to, channels) {
  const axis = taps(from, to);
  const resized = new Uint8Array(to * to * channels);
  const lines = new Map();
  const across = (y) => {
    if (!lines.has(y)) {
      const line = new Uint16Array(to * channels);
      axis.forEach(({ first, second, weight }, x) => {
        for (let channel = 0; channel < channels; channel++) {
          line[channels * x + channel] = (ONE - weight) * data[y * row + first * step + channel]
            + weight * data[y * row + second * step + channel];
        }
      });
      lines.delete(y - 2);
      lines.set(y, line);
    }
    return lines.get(y);
  };
  axis.forEach(({ first, second, weight }, y) => {
    const upper = across(first);
    const lower = across(second);
    for (let x = 0; x < to * channels; x++) {
      resized[y * to * channels + x] = ((ONE - weight) * upper[x] + weight * lower[x] + 0x8000) >>> 16;
    }
  });
  return resized;
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
