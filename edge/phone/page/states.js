// The state machine: the same smoothing and states as in edge/states.py.

import { CLOSE_UP, DERMOSCOPIC, viewOf } from "./decision.js";

const TIME_CONSTANT_S = 0.3;
const SETTLE_S = 0.6;
const GRACE_S = 0.4;
// The view changes to close-up when the smoothed probability of a close-up reaches TO_CLOSE_UP. It changes back when
// this probability falls to TO_DERMOSCOPIC.
const TO_CLOSE_UP = 0.6;
const TO_DERMOSCOPIC = 0.4;
const OF_A_LESION = ["moving", "out of focus", "glare", "too bright"];

export const ANSWERED = ["answer", "uncertain", "none of these"];
export const HINTS = {
  "black": "the image is black: uncover the lens",
  "too dark": "more light",
  "too bright": "less light",
  "glare": "turn the light until nothing shines",
  "no lesion": "bring a lesion into the circle",
  "lesion cut": "bring the whole lesion into the circle",
  "off centre": "bring the lesion to the middle",
  "too small": "move closer",
  "out of focus": "change the distance until it is sharp",
  "moving": "hold still",
};

class Smoother {
  constructor() {
    this.clear();
  }

  clear() {
    this.values = null;
    this.firstS = 0;
    this.lastS = 0;
  }

  // Adds the probabilities of one more frame, and returns the smoothed probabilities. For a single photo, `atS` is
  // null, and nothing is smoothed.
  add(probabilities, atS) {
    if (atS === null) return probabilities;
    if (!this.values) {
      this.values = probabilities;
      this.firstS = this.lastS = atS;
      return probabilities;
    }
    const share = 1 - Math.exp(-Math.max(atS - this.lastS, 0) / TIME_CONSTANT_S);
    this.values = this.values.map((old, index) => old + share * (probabilities[index] - old));
    this.lastS = Math.max(atS, this.lastS);
    return this.values;
  }

  get hasSettled() {
    return this.lastS - this.firstS >= SETTLE_S;
  }
}

// Tells the view of all frames since the last call of `clear`.
class ViewTracker {
  #smoother = new Smoother();
  #view = null;

  clear() {
    this.#smoother.clear();
    this.#view = null;
  }

  // Adds one more frame, and returns the view. `closeUp` is the probability that the frame is a close-up, or null if
  // the model does not tell the view. For a single photo, `atS` is null, and the view depends on this probability only.
  add(closeUp, atS) {
    if (closeUp === null || atS === null) return viewOf(closeUp);
    const [smoothed] = this.#smoother.add([closeUp], atS);
    if (this.#view === null) this.#view = viewOf(smoothed);
    else if (smoothed >= TO_CLOSE_UP) this.#view = CLOSE_UP;
    else if (smoothed <= TO_DERMOSCOPIC) this.#view = DERMOSCOPIC;
    return this.#view;
  }
}

// Each method reports one event to the machine, and returns { state, hint, agrees }.
export class StateMachine {
  constructor() {
    this.smoother = new Smoother();
    this.viewTracker = new ViewTracker();
    this.state = "searching";
    this.goodS = null;
    this.answer = null;
    this.agreedS = 0;
  }

  lost(reason) {
    this.#forget();
    return this.#say("camera lost", reason);
  }

  defective(defect, atS) {
    const isBlink = atS !== null && this.goodS !== null && atS >= this.goodS && atS - this.goodS < GRACE_S;
    if (isBlink) return this.#say(this.state, HINTS[defect]);
    this.#forget();
    return this.#say(OF_A_LESION.includes(defect) ? "hold still" : "searching", HINTS[defect]);
  }

  // Reports that a frame was classified. Two answers with the same state are different answers if `meaning` differs.
  good(answer, atS, meaning = "") {
    this.goodS = atS;
    if (atS !== null && !this.smoother.hasSettled) return this.#say("reading", "hold still");
    const agrees = this.answer?.state === answer && this.answer.meaning === meaning;
    if (!agrees && this.#stands(atS)) return this.#say(this.state, "");
    this.answer = { state: answer, meaning };
    this.agreedS = atS ?? 0;
    return this.#say(answer, "", true);
  }

  // Tells whether the shown answer stays although the newest frame has another answer.
  #stands(atS) {
    return this.answer !== null && atS !== null && atS >= this.agreedS && atS - this.agreedS < GRACE_S;
  }

  #say(state, hint, agrees = false) {
    this.state = state;
    return { state, hint, agrees };
  }

  #forget() {
    this.smoother.clear();
    this.viewTracker.clear();
    this.goodS = null;
    this.answer = null;
  }
}
