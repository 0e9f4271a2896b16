// The model in the browser, with onnxruntime-web on one thread. It stands in for the page's own
// engine.js, which asks a server: the same `open` and `classify`. Photographs and numbers of several
// digits are read by `python -m runtime.serve` alone.

import * as ort from "./ort.js";
import { Judge } from "./judge.js";
import { SIDE, inkOf, normalize } from "./preprocess.js";

export class Refusal extends Error {}

export async function open() {
  keepForOffline();
  let spec, session;
  try {
    const [wasm, model, text] = await Promise.all([bytes("ort.wasm"), bytes("model.onnx"), bytes("spec.json")]);
    spec = JSON.parse(new TextDecoder().decode(text));
    ort.env.wasm.wasmBinary = wasm;
    ort.env.wasm.numThreads = 1; // more would ask the host for headers that few can set
    ort.env.logLevel = "error";
    session = await ort.InferenceSession.create(new Uint8Array(model), { executionProviders: ["wasm"] });
  } catch (error) {
    throw new Refusal(`The model cannot be opened in this browser (${error.message}).`);
  }
  const local = new Local(spec, session);
  await local.prove();
  return { model: local.model, classify: (canvas) => local.classify(canvas) };
}

class Local {
  constructor(spec, session) {
    this.spec = spec;
    this.session = session;
    this.judge = new Judge(spec.accept_confidence, spec.acceptance);
    this.model = {
      name: spec.name, precision: spec.precision, digest: spec.digest, labels: spec.labels,
      backend: "onnxruntime-web", backend_version: ort.env.versions.web, server: false,
      test_accuracy: spec.metrics?.test_accuracy ?? null, n_test: spec.metrics?.n_test ?? null,
    };
  }

  // The softmax of `count` images of 28 × 28 pixels: one Float32Array each.
  async scores(pixels, count) {
    const input = Float32Array.from(pixels, (value) => value / 255);
    const [name] = this.session.inputNames;
    const tensor = new ort.Tensor("float32", input, [count, SIDE, SIDE, 1]);
    const results = await this.session.run({ [name]: tensor });
    const { data } = results[this.session.outputNames[0]];
    const classes = this.spec.labels.length;
    return Array.from({ length: count }, (_, i) => data.slice(i * classes, (i + 1) * classes));
  }

  // Compute the golden scores within the tolerance that export.web wrote, or refuse to open.
  async prove() {
    const { golden, golden_tolerance: tolerance } = this.spec;
    if (!golden) return;
    const pixels = Uint8Array.from(atob(golden.pixels), (c) => c.charCodeAt(0));
    const found = await this.scores(pixels, golden.scores.length);
    golden.scores.forEach((expected, image) => expected.forEach((score, i) => {
      if (!(Math.abs(found[image][i] - score) <= tolerance)) {
        throw new Refusal("This browser does not compute as the model's own test says: its answers would be wrong.");
      }
    }));
  }

  // Predict one drawing, dark on white, every mark of which is ink.
  async classify(canvas) {
    const start = performance.now();
    const pixels = normalize(inkOf(canvas), canvas.width, canvas.height);
    const prepared = performance.now();
    const [scores] = await this.scores(pixels, 1);
    const confidence = Math.max(...scores);
    const accepted = this.judge.accepts(pixels, confidence);
    const end = performance.now();
    return {
      label: this.spec.labels[scores.indexOf(confidence)],
      confidence,
      accepted,
      pixels,
      method: pixels.some(Boolean) ? "drawing" : "blank",
      scores: this.spec.labels.map((label, i) => ({ label, score: scores[i] })),
      preprocess_ms: prepared - start,
      inference_ms: end - prepared,
      total_ms: end - start,
    };
  }
}

async function bytes(name) {
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name}: ${response.status}`);
  return response.arrayBuffer();
}

// After the first visit the site needs no network. Browsers do this on HTTPS and localhost only.
function keepForOffline() {
  navigator.serviceWorker?.register("sw.js").catch(() => {});
}
