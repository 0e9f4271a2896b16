// The engine of the static site: runs the model in the browser, as WebAssembly.
//
// It replaces runtime/serve/page/engine.js, which sends pictures to a server, and has the same `open`
// `classify` and `featureMaps`. It has no `read`: only `digit-edge serve` reads numbers of several
// digits. digits.wasm is compiled from export/c/pieces/browser.c, which describes its functions.

import { text } from "./texts.js";

const PIXELS = 28 * 28; // of the model's input
const PAGE_BYTES = 65536; // of WebAssembly's memory
const SEARCH_SIDE_PX = 192; // of the copy of a photograph in which the digit is searched
const MIN_SEARCH_SIDE_PX = 64; // a smaller photograph is enlarged to this
const MIN_DIGIT_PX = 28; // a smaller digit is searched again in a crop of the photograph
const FOUND = 0; // result of convert_photo
const CLUTTERED = 2; // result of convert_photo; another one means that the picture is blank

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
    classify: async (canvas, isDrawing) => local.classify(canvas, isDrawing),
    featureMaps: async (canvas, isDrawing) => local.featureMaps(canvas, isDrawing),
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

  // Convert a picture to the pixels in the program's memory. Return the digit's bounding box, and whether
  // it is `odd`: its shape is not that of a digit, or too much other ink surrounds it.
  convert(canvas, isDrawing) {
    const { width, height } = canvas;
    const whole = [0, 0, width, height];
    if (isDrawing) {
      this.write(imageData(canvas), this.program.image());
      this.program.convert_drawing(width, height);
      return { box: whole, odd: false };
    }
    const found = this.find(canvas, whole);
    if (found.status === CLUTTERED) throw new EngineError(text("problem.cluttered"));
    if (found.status !== FOUND) return { box: whole, odd: false };
    const [left, top, right, bottom] = found.box;
    const side = Math.max(right - left, bottom - top);
    if (side * found.scale >= MIN_DIGIT_PX || found.scale >= 1) return found;
    const margin = Math.round(side / 2);
    const closer = this.find(canvas, [
      Math.max(0, left - margin), Math.max(0, top - margin),
      Math.min(width, right + margin), Math.min(height, bottom + margin),
    ]);
    if (closer.status !== FOUND) return this.find(canvas, whole);
    return { ...closer, odd: closer.odd || found.odd };
  }

  // Find the digit in a part of a photograph and convert it. Return the status; if it was found, also its
  // box, whether it is odd, and the scale of the copy in which it was searched.
  find(canvas, [left, top, right, bottom]) {
    const longest = Math.max(right - left, bottom - top);
    const scale = Math.min(SEARCH_SIDE_PX, Math.max(MIN_SEARCH_SIDE_PX, longest)) / longest;
    const copy = document.createElement("canvas");
    copy.width = Math.max(1, Math.round((right - left) * scale));
    copy.height = Math.max(1, Math.round((bottom - top) * scale));
    const context = copy.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingQuality = "high";
    context.drawImage(canvas, left, top, right - left, bottom - top, 0, 0, copy.width, copy.height);
    this.write(imageData(copy), this.program.image());
    const status = this.program.convert_photo(copy.width, copy.height);
    if (status !== FOUND) return { status };
    const [boxLeft, boxTop, boxRight, boxBottom, odd] = new Int32Array(this.read(this.program.photo(), 20).buffer);
    const box = [left + boxLeft / scale, top + boxTop / scale, left + boxRight / scale, top + boxBottom / scale];
    return { status, box: box.map(Math.round), odd: Boolean(odd), scale };
  }

  // Return the feature maps of a picture, each block scaled to the levels 0 to 255.
  featureMaps(canvas, isDrawing) {
    const blocks = this.spec.feature_maps;
    if (!blocks.length) throw new EngineError(text("maps.missing"), { unsupported: true });
    this.convert(canvas, isDrawing);
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

  // Classify a picture. In a drawing, dark on white, every mark is ink.
  classify(canvas, isDrawing) {
    const start = performance.now();
    const { box, odd } = this.convert(canvas, isDrawing);
    const prepared = performance.now();
    const scores = this.scores();
    const confidence = Math.max(...scores);
    // As in Python, only models of digits reject odd shapes.
    const accepted = Boolean(this.program.accepts(confidence)) && !(odd && this.spec.rejects_odd_shapes);
    const pixels = this.read(this.program.pixels(), PIXELS);
    const end = performance.now();
    return {
      label: this.model.labels[scores.indexOf(confidence)],
      confidence,
      accepted,
      pixels,
      box,
      method: pixels.some(Boolean) ? "found" : "blank",
      scores: this.model.labels.map((label, i) => ({ label, score: scores[i] })),
      preprocess_ms: prepared - start,
      inference_ms: end - prepared,
      total_ms: end - start,
    };
  }
}

// Return the pixels of a canvas: red, green, blue and alpha of each.
function imageData(canvas) {
  return canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
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
