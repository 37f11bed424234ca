// Measures how long answers take on this phone, and writes a results file that `dermedge benchmark compare` reads.

const SCHEMA = "dermedge-benchmark/2";
const DISCLAIMER = "For research and education only: not a medical device, and no medical advice.";
// The first answers warm up the browser and are not measured.
const WARMUP = 32;
export const LEAST_ANSWERS = 100;
const MOST_ANSWERS = 10_000;
// A measurement is marked as noisy above these limits. They are the same as in benchmarks/verdict.py.
const MOST_HALF_INTERVAL = 0.02;
const MOST_DRIFT = 0.05;
const MOST_TAIL = 0.25;
// The 97.5 % quantile of the standard normal distribution.
const Z = 1.96;

const sorted = (values) => [...values].sort((one, other) => one - other);

// Returns a quantile of values, which must be sorted. Interpolates between neighbours, as NumPy does.
function quantile(values, share) {
  const at = share * (values.length - 1);
  const [low, high] = [values[Math.floor(at)], values[Math.ceil(at)]];
  return low + (high - low) * (at - Math.floor(at));
}

// Returns statistics of values. `low` and `high` are the ends of the 95 % confidence interval of the median. They are
// the sorted values at the ranks n/2 - 1.96 sqrt(n)/2 and n/2 + 1.96 sqrt(n)/2.
export function summary(values) {
  const inOrder = sorted(values);
  const n = inOrder.length;
  const reach = (Z * Math.sqrt(n)) / 2;
  return {
    n,
    median: quantile(inOrder, 0.5),
    low: inOrder[Math.max(0, Math.floor(n / 2 - reach))],
    high: inOrder[Math.min(n - 1, Math.ceil(n / 2 + reach))],
    p90: quantile(inOrder, 0.9),
    p99: quantile(inOrder, 0.99),
  };
}

// Returns the median of the second half of the values divided by the median of the first half, minus 1.
export function drift(values) {
  const half = Math.floor(values.length / 2);
  const [before, after] = [values.slice(0, half), values.slice(-half)].map((part) => quantile(sorted(part), 0.5));
  return after / before - 1;
}

export function markOf(total, drifted) {
  const isNoisy = (total.high - total.low) / 2 / total.median > MOST_HALF_INTERVAL
    || Math.abs(drifted) > MOST_DRIFT || total.p90 / total.median - 1 > MOST_TAIL;
  return isNoisy ? "noisy" : "good";
}

export class Latencies {
  #total = [];
  #invoke = [];
  #left = WARMUP;

  // Adds the durations of one answer in milliseconds: from the frame to the answer, and of the network alone.
  add(totalMs, invokeMs) {
    if (this.#left-- > 0) return;
    this.#total.push(totalMs);
    this.#invoke.push(invokeMs);
    if (this.#total.length > MOST_ANSWERS) for (const times of [this.#total, this.#invoke]) times.shift();
  }

  get isEnough() {
    return this.#total.length >= LEAST_ANSWERS;
  }

  // Returns the content of a results file. `app` is the content of app.json, `agent` is the user agent of the browser,
  // and `created` is a Date.
  results(app, agent, created) {
    const total = summary(this.#total);
    const drifted = drift(this.#total);
    return {
      schema: SCHEMA,
      disclaimer: DISCLAIMER,
      created: created.toISOString(),
      command: "the phone page of dermedge",
      machine: { cpu: agent, runtime: "LiteRT.js in a browser" },
      frames: "frames of the phone's camera; the quality gate is included",
      faults: [],
      rows: [{
        model: `${app.manifest.architecture}, ${app.manifest.input_size} px`,
        sha256: app.sha256["model.tflite"],
        num_threads: 1,
        latency: { total, invoke: summary(this.#invoke), drift: drifted },
        accuracy: null,
        mark: markOf(total, drifted),
      }],
    };
  }
}
