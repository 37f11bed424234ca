// Reads photos with the phone app's worker in Node, on a canvas with the limit of Safari on an iPhone: a larger canvas
// stays empty. Argument: the script of the worker. Standard input: a list of sizes [width, height]. Standard output: for
// each photo, the size of the result, and whether all pixels are those of the photo.

import { readFileSync } from "node:fs";
import { runInThisContext } from "node:vm";

const MOST_PIXELS = 4096 * 4096;
const shade = (x, y) => (7 * x + 13 * y) & 0xff;

class Context {
  constructor(canvas) {
    this.canvas = canvas;
  }

  drawImage(bitmap, left, top) {
    Object.assign(this, { left, top });
  }

  getImageData(x, y, width, height) {
    const words = new Uint32Array(width * height);
    const isEmpty = this.canvas.width * this.canvas.height > MOST_PIXELS;
    for (let at = 0; !isEmpty && at < words.length; at++) {
      words[at] = shade((at % width) - this.left, Math.floor(at / width) - this.top);
    }
    return { width, height, data: new Uint8ClampedArray(words.buffer) };
  }
}

Object.assign(globalThis, {
  self: { location: { href: "https://pi.local/" } },
  postMessage: () => {},
  fetch: async () => { throw new Error("no network"); },
  OffscreenCanvas: class {
    getContext() {
      return new Context(this);
    }
  },
  ImageData: class {
    constructor(width, height) {
      Object.assign(this, { width, height, data: new Uint8ClampedArray(4 * width * height) });
    }
  },
});
runInThisContext(readFileSync(process.argv[2], "utf8"));

const told = JSON.parse(readFileSync(0)).map(([width, height]) => {
  const image = globalThis.pixelsOf({ width, height });
  const words = new Uint32Array(image.data.buffer);
  const [left, top] = [(width - image.width) / 2, (height - image.height) / 2];
  const isRight = words.every(
    (word, at) => word === shade((at % image.width) + left, Math.floor(at / image.width) + top));
  return [image.width, image.height, isRight];
});
console.log(JSON.stringify(told));
