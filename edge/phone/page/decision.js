// Turns quantized outputs into calibrated probabilities, and these into an answer, as edge/model/decision.py does.

// As in edge/model/head.py.
const HALF_STEP = 0.5 / 256;
const MOST_OF_ZEROS = 0.1;
const sum = (values) => values.reduce((total, one) => total + one, 0);
// Of equal values, the first one wins, as in Python.
const indexOfMax = (values) => values.indexOf(Math.max(...values));

export function softmax(logits, temperature = 1) {
  const top = Math.max(...logits);
  const exponents = logits.map((one) => Math.exp((one - top) / temperature));
  const total = sum(exponents);
  return exponents.map((one) => one / total);
}

// The logits that the temperature divides; `head` is "softmax", "sigmoid" or "logits".
export function calibratedLogitsOf(head, outputs) {
  if (head === "logits") return outputs;
  const least = Math.min(HALF_STEP, MOST_OF_ZEROS / outputs.length);
  return outputs.map((one) => Math.log(Math.max(one, least)));
}

export const CLOSE_UP = "close-up";
export const DERMOSCOPIC = "dermoscopic";

// The view of a photo by the probability that it is a close-up, as in edge/model/photo_view.py; null where the model
// does not tell it.
export function viewOf(closeUp) {
  if (closeUp === null) return null;
  return closeUp >= 0.5 ? CLOSE_UP : DERMOSCOPIC;
}

// The { temperature, thresholds } for a view: those in `views` of the manifest, or else those of the manifest itself.
export function calibrationOf({ temperature, thresholds, views }, view) {
  return views?.[view] ?? { temperature, thresholds };
}

// The mean of [h, w, K] levels over the cells, dequantized.
export function meanOverCells(levels, classes, { scale, zero_point: zeroPoint }) {
  const totals = new Array(classes).fill(0);
  levels.forEach((level, index) => { totals[index % classes] += level; });
  return totals.map((total) => (total / (levels.length / classes) - zeroPoint) * scale);
}

// { index, declined, uncertain, alert } of probabilities by a manifest's labels, none_label and thresholds.
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

// What is said of a decision: { title, nearest }, where nearest is the class to name beside a title that names none,
// or null.
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

// The indices of the classes that are not ruled out, or null where the thresholds do not tell.
export function predictionSet(probabilities, { labels, thresholds }) {
  const least = thresholds.conformal?.thresholds;
  if (!least) return null;
  return labels.map((_, index) => index).filter((index) => probabilities[index] >= least[labels[index]]);
}

const FULL_HEAT = 2;

// 0 to 1 for each cell: where the evidence for a class lies; edge/model/heat_map.py.
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
