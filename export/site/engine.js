// The engine of the static site: runs the model in the browser, with onnxruntime-web on one thread.
//
// It replaces runtime/serve/page/engine.js, which sends drawings to a server, and has the same `open`
// `classify` and `featureMaps`. It has no `read`: only `digit-edge serve` reads photographs and numbers of
// several digits.

import * as ort from "./ort.js";
import { RejectionScorer } from "./judge.js";
import { SIDE_PX, inkOf, toMnistFormat } from "./preprocess.js";
import { text } from "./texts.js";

// An error with a message for the user. `retry`: trying again may help; `unsupported`: the model
// cannot do what was requested.
export class EngineError extends Error {
  constructor(message, { retry = false, unsupported = false } = {}) {
    super(message);
    Object.assign(this, { retry, unsupported });
  }
}

// Load the model and check it against its golden scores; return the engine.
export async function open() {
  registerServiceWorker();
  let spec, session, model;
  try {
    let wasm, json;
    [wasm, model, json] = await Promise.all([fetchBytes("ort.wasm"), fetchBytes("model.onnx"), fetchBytes("spec.json")]);
    spec = JSON.parse(new TextDecoder().decode(json));
    ort.env.wasm.wasmBinary = wasm;
    ort.env.wasm.numThreads = 1; // more need COOP and COEP headers, which static hosts seldom send
    ort.env.logLevel = "error";
    session = await openSession(new Uint8Array(model));
  } catch (error) {
    throw new EngineError(text("problem.model", { reason: error.message }), { retry: true });
  }
  const local = new LocalModel(spec, session, new Uint8Array(model));
  await local.checkGolden();
  return {
    model: local.model,
    classify: (canvas) => local.classify(canvas),
    featureMaps: (canvas) => local.featureMaps(canvas),
  };
}

class LocalModel {
  constructor(spec, session, file) {
    this.spec = spec;
    this.session = session;
    this.file = file;
    this.mapsSession = null; // a second session, opened by the first request for feature maps
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
        throw new EngineError(text("problem.selftest"));
      }
    }));
  }

  // Return the feature maps of a drawing. The model file ends with a protobuf field that adds the
  // tensors to the outputs (see runtime/backends/feature_maps.py).
  async featureMaps(canvas) {
    const { tensors, outputs } = this.spec.feature_maps;
    if (!tensors.length) throw new EngineError(text("maps.missing"), { unsupported: true });
    if (!this.mapsSession) {
      const added = Uint8Array.from(atob(outputs), (c) => c.charCodeAt(0));
      this.mapsSession = await openSession(new Uint8Array([...this.file, ...added]));
    }
    const pixels = toMnistFormat(inkOf(canvas), canvas.width, canvas.height);
    const [name] = this.mapsSession.inputNames;
    const input = new ort.Tensor("float32", Float32Array.from(pixels, (value) => value / 255), [1, SIDE_PX, SIDE_PX, 1]);
    const results = await this.mapsSession.run({ [name]: input }, tensors);
    return tensors.map((tensor) => {
      const { data, dims: [, channels, height, width] } = results[tensor];
      const peak = data.reduce((largest, value) => Math.max(largest, value), 0);
      const maps = Uint8Array.from(data, (value) => (peak ? Math.max(0, (255 * value) / peak) : 0));
      return { channels, height, width, peak, maps };
    });
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

function openSession(file) {
  return ort.InferenceSession.create(file, { executionProviders: ["wasm"] });
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
