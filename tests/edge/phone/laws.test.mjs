// The laws of the page, checked on the vectors that the tests of Python read too.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { calibratedLogitsOf, calibrationOf, decide, headline, meanOverCells, predictionSet, softmax }
  from "../../../edge/phone/page/decision.js";
import { outputPlaces } from "../../../edge/phone/page/network.js";
import { stateOf } from "../../../edge/phone/page/pipeline.js";
import { cropSquare, toInput } from "../../../edge/phone/page/preprocess.js";
import { StateMachine } from "../../../edge/phone/page/states.js";

const read = (name) => JSON.parse(readFileSync(new URL(`../${name}_vectors.json`, import.meta.url)));

function closeTo(got, expected) {
  assert.equal(got.length, expected.length);
  got.forEach((one, index) => assert.ok(Math.abs(one - expected[index]) < 1e-12, `${got} is not ${expected}`));
}

// Draws the image of tests/edge/test_preprocess.py. Each value is Marsaglia's xorshift of its number.
function pattern({ height, width, seed }) {
  const data = new Uint8ClampedArray(height * width * 4);
  for (let at = 0; at < height * width * 3; at++) {
    let bits = (at + 1 + seed * 7919) >>> 0;
    bits = (bits ^ (bits << 13)) >>> 0;
    bits = (bits ^ (bits >>> 17)) >>> 0;
    bits = (bits ^ (bits << 5)) >>> 0;
    data[Math.floor(at / 3) * 4 + (at % 3)] = bits & 255;
  }
  return { data, height, width };
}

for (const vector of read("preprocess")) {
  test(`${vector.height} x ${vector.width} to ${vector.size}`, () => {
    const { top, left, side } = cropSquare(vector.height, vector.width, vector.size);
    assert.deepEqual([top, left, side], vector.seen);
    const input = toInput(pattern(vector), vector.size);
    assert.equal(createHash("sha256").update(input).digest("hex"), vector.sha256);
  });
}

for (const vector of read("decision")) {
  test(vector.name, () => {
    const { index, declined, uncertain, alert } = vector;
    const decision = decide(vector.probabilities, vector);
    assert.deepEqual(decision, { index, declined, uncertain, alert });
    assert.deepEqual(headline(vector.probabilities, decision, vector), vector.headline);
    assert.equal(stateOf({ ...decision, probabilities: vector.probabilities }), vector.state);
    if (vector.set) assert.deepEqual(predictionSet(vector.probabilities, vector), vector.set);
  });
}

for (const { name, moments } of read("states")) {
  test(name, () => {
    const machine = new StateMachine();
    for (const { state, hint, agrees, smoothed, ...moment } of moments) {
      let said;
      if (moment.lost) {
        said = machine.lost(moment.lost);
      } else if (moment.defect) {
        said = machine.defective(moment.defect, moment.at_s);
      } else {
        closeTo(machine.smoother.add(moment.probabilities, moment.at_s), smoothed);
        said = machine.good(moment.answer, moment.at_s, moment.meaning);
      }
      assert.deepEqual(said, { state, hint, agrees: agrees ?? said.agrees });
    }
  });
}

for (const { name, moments } of read("view")) {
  test(name, () => {
    const machine = new StateMachine();
    for (const moment of moments) {
      if (moment.lost) {
        machine.lost(moment.lost);
      } else if (moment.defect) {
        machine.defective(moment.defect, moment.at_s);
      } else {
        assert.equal(machine.viewTracker.add(moment.close_up, moment.at_s), moment.view);
        machine.good("answer", moment.at_s);
      }
    }
  });
}

for (const { name, manifest, view, logits, probabilities, ...decided } of read("calibration")) {
  test(name, () => {
    const { temperature, thresholds } = calibrationOf(manifest, view);
    const calibrated = softmax(logits, temperature);
    closeTo(calibrated, probabilities);
    assert.deepEqual(decide(calibrated, { ...manifest, thresholds }), decided);
  });
}

for (const { shapes, places } of read("outputs")) {
  test(`outputs ${JSON.stringify(shapes)}`, () => assert.deepEqual(outputPlaces(shapes), places));
}

test("temperature, dequantized means and logits of probabilities", () => {
  closeTo(softmax([2, 0], 2), [1 / (1 + Math.exp(-1)), 1 / (1 + Math.exp(1))]);
  closeTo(meanOverCells(Uint8Array.of(10, 20, 30, 40), 2, { scale: 0.5, zero_point: 10 }), [5, 10]);
  closeTo(calibratedLogitsOf("softmax", [0.75, 0.25, 0]), [Math.log(0.75), Math.log(0.25), Math.log(0.5 / 256)]);
  closeTo(calibratedLogitsOf("softmax", [0.5, ...new Array(999).fill(0)]).slice(0, 2), [Math.log(0.5), Math.log(1e-4)]);
  assert.deepEqual(calibratedLogitsOf("logits", [0.75, 0.25, 0]), [0.75, 0.25, 0]);
});
