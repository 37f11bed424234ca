// Turns the quantized outputs of the network into calibrated probabilities, and the probabilities into an answer. The
// rules are the same as in edge/model/decision.py.

// The same constants as in edge/model/head.py.
const HALF_STEP = 0.5 / 256;
const MOST_OF_ZEROS = 0.1;
const sum = (values) => values.reduce((total, one) => total + one, 0);
// Returns the index of the greatest value. If several values are the greatest, returns the first index, as in Python.
const indexOfMax = (values) => values.indexOf(Math.max(...values));

export function softmax(logits, temperature = 1) {
  const top = Math.max(...logits);
  const exponents = logits.map((one) => Math.exp((one - top) / temperature));
  const total = sum(exponents);
  return exponents.map((one) => one / total);
}

// Returns the logits of dequantized outputs, before they are divided by the temperature. `head` tells what the outputs
// are: "softmax" and "sigmoid" mean probabilities, "logits" means logits.
export function calibratedLogitsOf(head, outputs) {
  if (head === "logits") return outputs;
  const least = Math.min(HALF_STEP, MOST_OF_ZEROS / outputs.length);
  return outputs.map((one) => Math.log(Math.max(one, least)));
}

export const CLOSE_UP = "close-up";
export const DERMOSCOPIC = "dermoscopic";

// Returns the view of a photo. `closeUp` is the probability that the photo is a close-up. If the model does not tell
// the view, this probability is null, and the view is null too. The rule is the same as in edge/model/photo_view.py.
export function viewOf(closeUp) {
  if (closeUp === null) return null;
  return closeUp >= 0.5 ? CLOSE_UP : DERMOSCOPIC;
}

// Returns { temperature, thresholds } for a view. They are in `views` of the manifest. If `views` does not contain the
// view, the temperature and thresholds of the manifest itself are returned.
export function calibrationOf({ temperature, thresholds, views }, view) {
  return views?.[view] ?? { temperature, thresholds };
}

// Returns the dequantized mean over all cells for each class. `levels` has the shape [height, width, classes].
export function meanOverCells(levels, classes, { scale, zero_point: zeroPoint }) {
  const totals = new Array(classes).fill(0);
  levels.forEach((level, index) => { totals[index % classes] += level; });
  return totals.map((total) => (total / (levels.length / classes) - zeroPoint) * scale);
}

// Returns the decision { index, declined, uncertain, alert } for probabilities. The second argument is a manifest. Only
// its labels, none_label and thresholds are used.
export function decide(probabilities, { labels, none_label: noneLabel, thresholds }) {
  const none = labels.indexOf(noneLabel);
  const named = labels.map((_, index) => index).filter((index) => index !== none);
  let index = indexOfMax(probabilities);
  if (none >= 0 && thresholds.none !== undefined) {
    index = probabilities[none] >= thresholds.none
      ? none : named[indexOfMax(named.map((one) => probabilities[one]))];
  }
  const declined = index === none;
  const amongNamed = sum(named.map((one) => probabilities[one]));
  const alert = thresholds.alert;
  return {
    index,
    declined,
    uncertain: !declined && probabilities[index] < (thresholds.uncertain ?? 0) * amongNamed,
    alert: alert !== undefined && probabilities[labels.indexOf(alert.label)] >= alert.threshold,
  };
}

// Returns the headline of a decision as { title, nearest }. If the title does not name a class, nearest is the class to
// name beside the title. Otherwise, nearest is null.
export function headline(probabilities, { index, declined, uncertain }, { labels, none_label: noneLabel }) {
  const top = indexOfMax(probabilities);
  if (probabilities[index] < probabilities[top]) {
    const nearest = labels[declined ? top : index];
    const classes = labels.length - labels.includes(noneLabel);
    if (classes === 1) return { title: `not clearly ${nearest}`, nearest: null };
    return { title: `not clearly one of the ${classes} classes`, nearest };
  }
  return uncertain ? { title: "uncertain", nearest: labels[index] } : { title: labels[index], nearest: null };
}

// Returns the prediction set: the indices of the classes that are not ruled out. Returns null if the manifest has no
// thresholds for prediction sets.
export function predictionSet(probabilities, { labels, thresholds }) {
  const least = thresholds.conformal?.thresholds;
  if (!least) return null;
  return labels.map((_, index) => index).filter((index) => probabilities[index] >= least[labels[index]]);
}

const FULL_HEAT = 2;

// Returns a number from 0 to 1 for each cell: the strength of the evidence for the class `winner`. The formula is the
// same as in edge/model/heat_map.py.
export function heatMap(levels, classes, winner, { scale, zero_point: zeroPoint }) {
  const cells = levels.length / classes;
  const lead = new Float32Array(cells);
  for (let cell = 0; cell < cells; cell++) {
    let others = 0;
    for (let index = 0; index < classes; index++) {
      if (index !== winner) others += (levels[cell * classes + index] - zeroPoint) * scale;
    }
    const own = (levels[cell * classes + winner] - zeroPoint) * scale;
    lead[cell] = Math.max(own - others / (classes - 1), 0);
  }
  const full = Math.max(...lead, FULL_HEAT);
  return lead.map((one) => one / full);
}
