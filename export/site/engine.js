// The model in the browser, with onnxruntime-web on one thread. It stands in for the page's own
// engine.js, which asks a server: the same `open`, the same few members.

import * as ort from "./ort.js";
import { hasStraightBack, variants } from "./doubt.js";
import { Judge } from "./judge.js";
import { view } from "./photo.js";
import { SIDE, bounds, inkOf, normalise } from "./preprocess.js";
import { read as readNumbers } from "./reading.js";
import { mean } from "./relief.js";

export class Refusal extends Error {}

// By how much a score may differ from what the artefact gave where it was made.
const GOLDEN_TOLERANCE = { float32: 1e-4, int8: 0.05 };
// What is found in a photograph is looked at again where it is less sure than this: see
// runtime/classifier.py.
const SURE = 0.95, CLEAR = 4, LIKELY = 0.5;

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
  return {
    model: local.model,
    photographs: true,
    classify: (canvas, drawing) => local.classify(canvas, drawing),
    read: (canvas) => local.read(canvas),
  };
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

  // Answer the golden inputs as the artefact did when it was made, or refuse to answer at all.
  async prove() {
    const { golden, precision } = this.spec;
    if (!golden) return;
    const pixels = Uint8Array.from(atob(golden.pixels), (c) => c.charCodeAt(0));
    const found = await this.scores(pixels, golden.scores.length);
    golden.scores.forEach((expected, image) => expected.forEach((score, i) => {
      if (!(Math.abs(found[image][i] - score) <= GOLDEN_TOLERANCE[precision])) {
        throw new Refusal("This browser does not compute as the model's own test says: its answers would be wrong.");
      }
    }));
  }

  // One digit: a drawing, every mark of which is ink, or a photograph.
  async classify(canvas, drawing) {
    const start = performance.now();
    const seen = drawing ? drawingOf(canvas) : view(canvas);
    const prepared = performance.now();
    const [scores] = await this.scores(seen.pixels, 1);
    const prediction = this.#predict(seen.pixels, scores);
    if (!drawing && prediction.accepted) prediction.accepted = await this.#isDigit(seen, prediction, scores);
    const end = performance.now();
    return {
      ...prediction,
      ...seen,
      scores: this.spec.labels.map((label, i) => ({ label, score: scores[i] })),
      preprocess_ms: prepared - start,
      inference_ms: end - prepared,
      total_ms: end - start,
    };
  }

  // Whether ink found in a photograph has a digit's shape and, if the prediction is uncertain,
  // test-time augmentation confirms it; only for models with a rejection model. Mirrors `_settle` in
  // runtime/classifier.py.
  async #isDigit({ pixels, method, odd }, prediction, scores) {
    if (!this.spec.acceptance || method === "mnist") return true;
    if (odd || this.#isLetter(prediction, pixels)) return false;
    const { confidence } = prediction;
    const { judge } = this;
    if (confidence >= SURE && judge.score(pixels, confidence) >= judge.threshold + CLEAR) return true;
    const written = variants(pixels);
    const all = await this.scores(written.flatMap((one) => [...one]), written.length);
    const best = scores.indexOf(Math.max(...scores));
    const again = mean(all.map((each) => each[best]));
    const score = mean(written.map((one, i) => judge.score(one, Math.max(...all[i]))));
    return again >= LIKELY && score >= judge.threshold;
  }

  // The numbers in a drawing or a photograph, several lines and touching digits among them.
  async read(canvas) {
    const start = performance.now();
    const { lines, digits } = await readNumbers(
      canvas, (images) => this.#predictAll(images), Boolean(this.spec.acceptance));
    return { text: lines.join("\n"), lines, digits, total_ms: performance.now() - start };
  }

  async #predictAll(images) {
    if (!images.length) return [];
    const all = await this.scores(images.flatMap((pixels) => [...pixels]), images.length);
    return images.map((pixels, i) => {
      const prediction = this.#predict(pixels, all[i]);
      return { ...prediction, accepted: prediction.accepted && !this.#isLetter(prediction, pixels) };
    });
  }

  // Whether this 8 is a B; only of models that read digits alone, which have a rule of ink.
  #isLetter({ label }, pixels) {
    return label === "8" && Boolean(this.spec.acceptance) && hasStraightBack(pixels);
  }

  #predict(pixels, scores) {
    const confidence = Math.max(...scores);
    const label = this.spec.labels[scores.indexOf(confidence)];
    return { label, confidence, accepted: this.judge.accepts(pixels, confidence) };
  }
}

function drawingOf(canvas) {
  const { width, height } = canvas;
  const ink = inkOf(canvas);
  const box = bounds(ink, width, height);
  return { pixels: normalise(ink, width, height), box, method: box[0] < box[2] ? "drawing" : "blank" };
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
