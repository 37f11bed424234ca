// Turns images into results, as edge/pipeline.py and edge/model/classifier.py do.

import { CLOSE_UP, calibratedLogitsOf, calibrationOf, decide, headline, heatMap, meanOverCells, softmax, viewOf }
  from "./decision.js";
import { cropSquare, toInput } from "./preprocess.js";
import { LEAST_SIZE, QualityGate } from "./quality.js";
import { HINTS, StateMachine } from "./states.js";

export class Pipeline {
  // `app` is the content of app.json, and `run` is the function that openNetwork returns.
  constructor(app, run) {
    this.app = app;
    this.run = run;
    this.reset();
  }

  // Forgets the frames so far.
  reset() {
    this.machine = new StateMachine();
    this.gate = new QualityGate();
  }

  lost(reason) {
    return { ...this.machine.lost(reason), crop: null, classification: null };
  }

  // Returns the result for a camera frame. `image` is an ImageData, and `atS` is the time of the frame in seconds.
  async live(image, atS) {
    const prepared = this.#prepare(image);
    const defect = this.#defect(this.gate, image, prepared, atS);
    if (defect) return { ...this.machine.defective(defect, atS), crop: this.#crop(image), classification: null };
    const answer = await this.#classify(prepared);
    const view = this.machine.viewTracker.add(answer.closeUp, atS);
    const probabilities = this.machine.smoother.add(this.#probabilities(answer, view), atS);
    const classification = this.#decide(answer, view, probabilities);
    const update = this.machine.good(stateOf(classification), atS, meaningOf(classification));
    return { ...update, crop: this.#crop(image), classification };
  }

  // Returns the result for a photo that the user chose. The photo gets an answer even if the quality gate would reject
  // it. In that case, a hint stands beside the answer.
  async still(image) {
    const prepared = this.#prepare(image);
    const answer = await this.#classify(prepared);
    const view = viewOf(answer.closeUp);
    const classification = this.#decide(answer, view, this.#probabilities(answer, view));
    const defect = this.#defect(new QualityGate(), image, prepared, null);
    const update = { state: stateOf(classification), hint: HINTS[defect] ?? "", agrees: true };
    return { ...update, crop: this.#crop(image), classification };
  }

  #crop({ width, height }) {
    return { ...cropSquare(height, width, this.app.manifest.input_size), width, height };
  }

  #prepare(image) {
    const started = performance.now();
    const input = toInput(image, this.app.manifest.input_size);
    return { input, preprocess: performance.now() - started };
  }

  // Returns the defect of an image, or null. The quality gate checks the input of the network. If this input is too
  // small for the gate, the gate checks a larger version.
  #defect(gate, image, { input }, atS) {
    const size = this.app.manifest.input_size;
    if (size >= LEAST_SIZE) return gate.check(input, size, atS);
    return gate.check(toInput(image, LEAST_SIZE), LEAST_SIZE, atS);
  }

  async #classify({ input, preprocess }) {
    const started = performance.now();
    const levels = await this.run(input);
    const invoked = performance.now();
    const { labels } = this.app.manifest;
    const logits = levels.evidence
      ? meanOverCells(levels.evidence, labels.length, this.app.evidence)
      : calibratedLogitsOf(this.app.head, dequantized(levels.probabilities, this.app.probabilities));
    return {
      levels,
      logits,
      closeUp: levels.close_up && dequantized(levels.close_up, this.app.close_up)[0],
      timing: { preprocess, invoke: invoked - started },
    };
  }

  // Returns the probabilities of this frame before smoothing, with the temperature of the view.
  #probabilities({ logits }, view) {
    return softmax(logits, calibrationOf(this.app.manifest, view).temperature);
  }

  #decide({ levels, timing }, view, probabilities) {
    const { labels } = this.app.manifest;
    const { thresholds } = calibrationOf(this.app.manifest, view);
    const decision = decide(probabilities, { ...this.app.manifest, thresholds });
    return {
      ...decision,
      headline: headline(probabilities, decision, this.app.manifest),
      label: labels[decision.index],
      alert: decision.alert ? thresholds.alert.label : null,
      view,
      probabilities,
      heat: levels.evidence && heatMap(levels.evidence, labels.length, decision.index, this.app.evidence),
      levels,
      timing,
    };
  }
}

// Returns the state that an answer leads to after it has settled.
export function stateOf({ index, uncertain, declined, probabilities }) {
  if (uncertain || (!declined && probabilities[index] < Math.max(...probabilities))) return "uncertain";
  return declined ? "none of these" : "answer";
}

// Returns a text that contains all words that are shown for an answer, but no numbers. Two answers with the same state
// are different answers if these texts differ.
function meaningOf({ headline: { title, nearest }, alert, view }) {
  return JSON.stringify([title, nearest, alert, view === CLOSE_UP]);
}

function dequantized(levels, { scale, zero_point: zeroPoint }) {
  return Array.from(levels, (level) => (level - zeroPoint) * scale);
}
