// The engine of the static site: runs the model in the browser, as WebAssembly.
//
// It replaces runtime/serve/page/engine.js, which sends drawings to a server, and has the same `open`
// `classify` and `featureMaps`. It has no `read`: only `digit-edge serve` reads photographs and numbers of
// several digits. digits.wasm is compiled from export/c/pieces/browser.c, which describes its functions.

import { text } from "./texts.js";

const PIXELS = 28 * 28; // of the model's input
const PAGE_BYTES = 65536; // of WebAssembly's memory

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
  let local;
  try {
    const [program, model, json] = await Promise.all(["digits.wasm", "model.bin", "spec.json"].map(fetchBytes));
    const { instance } = await WebAssembly.instantiate(program);
    local = new LocalModel(instance.exports, model, JSON.parse(new TextDecoder().decode(json)));
    local.checkGolden();
  } catch (error) {
    if (error instanceof EngineError) throw error;
    throw new EngineError(text("problem.model", { reason: error.message }), { retry: true });
  }
  return {
    model: local.model,
    scores: (pixels) => local.scores(pixels),
    classify: async (canvas) => local.classify(canvas),
    featureMaps: async (canvas) => local.featureMaps(canvas),
  };
}

class LocalModel {
  constructor(program, file, spec) {
    this.program = program;
    this.spec = spec;
    this.model = {
      ...spec.model, backend: "WebAssembly, digit-edge", backend_version: spec.version, server: false,
    };
    const missing = program.model() + file.byteLength - program.memory.buffer.byteLength;
    if (missing > 0) program.memory.grow(Math.ceil(missing / PAGE_BYTES));
    this.write(new Uint8Array(file), program.model());
    if (!program.open()) throw new Error("model.bin");
  }

  // Write bytes to an address of the program's memory. The memory can grow, so no view of it is kept.
  write(bytes, address) {
    new Uint8Array(this.program.memory.buffer).set(bytes, address);
  }

  // Return a copy of `length` bytes at an address of the program's memory.
  read(address, length) {
    return new Uint8Array(this.program.memory.buffer, address, length).slice();
  }

  // Return the scores of 28 × 28 pixels (Uint8Array); without them, of those in the program's memory.
  scores(pixels) {
    if (pixels) this.write(pixels, this.program.pixels());
    const address = this.program.run();
    return new Float32Array(this.read(address, 4 * this.model.labels.length).buffer);
  }

  // Compare the scores of the golden images with LiteRT's; throw if a bit differs.
  checkGolden() {
    const { pixels, scores } = this.spec.golden;
    const images = Uint8Array.from(atob(pixels), (c) => c.charCodeAt(0));
    scores.forEach((expected, image) => {
      const actual = this.scores(images.subarray(image * PIXELS, (image + 1) * PIXELS));
      if (expected.some((score, i) => actual[i] !== Math.fround(score))) {
        throw new EngineError(text("problem.selftest"));
      }
    });
  }

  // Convert a drawing, black on white, to the pixels in the program's memory.
  convert(canvas) {
    const { width, height } = canvas;
    this.write(canvas.getContext("2d").getImageData(0, 0, width, height).data, this.program.image());
    this.program.convert_drawing(width, height);
  }

  // Return the feature maps of a drawing, each block scaled to the levels 0 to 255.
  featureMaps(canvas) {
    const blocks = this.spec.feature_maps;
    if (!blocks.length) throw new EngineError(text("maps.missing"), { unsupported: true });
    this.convert(canvas);
    return blocks.map(({ layer, height, width, channels, zero }) => {
      const size = height * width;
      const bytes = this.read(this.program.maps(layer), size * channels); // [row][column][channel]
      const peak = bytes.reduce((largest, byte) => Math.max(largest, byte - zero), 0);
      const maps = new Uint8Array(bytes.length);
      bytes.forEach((byte, i) => {
        const target = (i % channels) * size + Math.floor(i / channels);
        maps[target] = peak ? Math.max(0, (255 * (byte - zero)) / peak) : 0;
      });
      return { channels, height, width, maps };
    });
  }

  // Classify a drawing, dark on white; every mark on it is ink.
  classify(canvas) {
    const start = performance.now();
    this.convert(canvas);
    const prepared = performance.now();
    const scores = this.scores();
    const confidence = Math.max(...scores);
    const accepted = Boolean(this.program.accepts(confidence));
    const pixels = this.read(this.program.pixels(), PIXELS);
    const end = performance.now();
    return {
      label: this.model.labels[scores.indexOf(confidence)],
      confidence,
      accepted,
      pixels,
      method: pixels.some(Boolean) ? "drawing" : "blank",
      scores: this.model.labels.map((label, i) => ({ label, score: scores[i] })),
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
