// The engine of the static site: runs the model in the browser, with onnxruntime-web on one thread.
//
// It replaces runtime/serve/page/engine.js, which sends drawings to a server, and has the same `open`
// and `classify`. It has no `read`: only `digit-edge serve` reads photographs and numbers of
// several digits.

import * as ort from "./ort.js";
import { RejectionScorer } from "./judge.js";
import { SIDE_PX, inkOf, toMnistFormat } from "./preprocess.js";

// An error with a message for the user.
export class EngineError extends Error {}

// Load the model and check it against its golden scores; return the engine.
export async function open() {
  registerServiceWorker();
  let spec, session;
  try {
    const [wasm, model, text] = await Promise.all([fetchBytes("ort.wasm"), fetchBytes("model.onnx"), fetchBytes("spec.json")]);
    spec = JSON.parse(new TextDecoder().decode(text));
    ort.env.wasm.wasmBinary = wasm;
    ort.env.wasm.numThreads = 1; // more need COOP and COEP headers, which static hosts seldom send
    ort.env.logLevel = "error";
    session = await ort.InferenceSession.create(new Uint8Array(model), { executionProviders: ["wasm"] });
  } catch (error) {
    throw new EngineError(`This browser cannot open the model (${error.message}).`);
  }
  const local = new LocalModel(spec, session);
  await local.checkGolden();
  return { model: local.model, classify: (canvas) => local.classify(canvas) };
}

class LocalModel {
  constructor(spec, session) {
    this.spec = spec;
    this.session = session;
    this.scorer = new RejectionScorer(spec.accept_confidence, spec.acceptance);
    this.model = {
      name: spec.name, precision: spec.precision, digest: spec.digest, labels: spec.labels,
      backend: "onnxruntime-web", backend_version: ort.env.versions.web, server: false,
      test_accuracy: spec.metrics?.test_accuracy ?? null, n_test: spec.metrics?.n_test ?? null,
    };
  }

  // Return the scores of `count` images of 28 × 28 pixels: one Float32Array per image.
  async scores(pixels, count) {
    const input = Float32Array.from(pixels, (value) => value / 255);
    const [name] = this.session.inputNames;
    const tensor = new ort.Tensor("float32", input, [count, SIDE_PX, SIDE_PX, 1]);
    const results = await this.session.run({ [name]: tensor });
    const { data } = results[this.session.outputNames[0]];
    const classes = this.spec.labels.length;
    return Array.from({ length: count }, (_, i) => data.slice(i * classes, (i + 1) * classes));
  }

  // Compare the scores of the golden images with the golden scores, within the tolerance in the spec;
  // throw if they differ.
  async checkGolden() {
    const { golden, golden_tolerance: tolerance } = this.spec;
    if (!golden) return;
    const pixels = Uint8Array.from(atob(golden.pixels), (c) => c.charCodeAt(0));
    const actual = await this.scores(pixels, golden.scores.length);
    golden.scores.forEach((expected, image) => expected.forEach((score, i) => {
      if (!(Math.abs(actual[image][i] - score) <= tolerance)) { // true for NaN too
        throw new EngineError("The model's self-test fails in this browser, so its answers would be wrong. Please try another browser.");
      }
    }));
  }

  // Classify a drawing, dark on white; every mark on it is ink.
  async classify(canvas) {
    const start = performance.now();
    const pixels = toMnistFormat(inkOf(canvas), canvas.width, canvas.height);
    const prepared = performance.now();
    const [scores] = await this.scores(pixels, 1);
    const confidence = Math.max(...scores);
    const accepted = this.scorer.accepts(pixels, confidence);
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

async function fetchBytes(name) {
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name}: ${response.status}`);
  return response.arrayBuffer();
}

// Make the site work offline after the first visit. Browsers allow it on HTTPS and localhost only.
function registerServiceWorker() {
  navigator.serviceWorker?.register("sw.js").catch(() => {});
}
