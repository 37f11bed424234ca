// Measures images in the way of the quality gate, for a network with the given input size. Argument: the size. Standard
// input: the first line is JSON, [{ height, width, at_s }], and the RGBA pixels of the images follow. Standard output:
// JSON of the measures and the defect of each image.

import { readFileSync } from "node:fs";

import { toInput } from "../../../edge/phone/page/preprocess.js";
import { judge, QualityGate } from "../../../edge/phone/page/quality.js";
import { HINTS } from "../../../edge/phone/page/states.js";

const size = Number(process.argv[2]);
const input = readFileSync(0);
const end = input.indexOf("\n");
const gate = new QualityGate();
let at = end + 1;
const pictures = JSON.parse(input.subarray(0, end)).map(({ height, width, at_s: atS }) => {
  const data = input.subarray(at, at + height * width * 4);
  at += data.length;
  const measures = gate.measure(toInput({ data, height, width }, size), size, atS);
  return { ...measures, defect: judge(measures) };
});
console.log(JSON.stringify({ pictures, hints: HINTS }));
