// A drawing in MNIST's form, in the browser. Mirrors `normalize` in runtime/preprocess/pipeline.py and
// `area_resample` in runtime/preprocess/segment.py, line by line and in single precision as NumPy computes them;
// tests/export/test_web.py holds both to the same drawings. The sources of the recipe are named
// there.

export const SIDE = 28;
const INNER = 20;
const LEAST_SIDE = 10;
const ROUNDING = 0.5 + 2 ** -10;

// How dark each pixel of a canvas is, 0 to 255, row by row.
export function inkOf(canvas) {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  return Uint8Array.from({ length: width * height }, (_, i) => 255 - data[4 * i]);
}

// Ink, 0 to 255 → pixels: Uint8Array of 28 × 28, 0 ground, 255 ink.
export function normalize(ink, width, height) {
  const pixels = new Uint8Array(SIDE * SIDE);
  const [left, top, right, bottom] = bounds(ink, width, height);
  if (right <= left) return pixels;
  const [w, h] = [right - left, bottom - top];
  const tight = new Float32Array(w * h);
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) tight[y * w + x] = ink[(top + y) * width + left + x];
  }
  const small = areaResample(tight, w, h, Math.max(w, h, LEAST_SIDE));
  const scale = Math.fround(255 / small.reduce((most, value) => Math.max(most, value)));
  let mass = 0, across = 0, down = 0;
  for (let i = 0; i < small.length; i++) {
    small[i] *= scale;
    mass += small[i];
    across += small[i] * ((i % INNER) + 0.5);
    down += small[i] * (Math.floor(i / INNER) + 0.5);
  }
  const shiftX = shift(across / mass), shiftY = shift(down / mass);
  for (let y = 0; y < INNER; y++) {
    for (let x = 0; x < INNER; x++) {
      const [toX, toY] = [x + shiftX, y + shiftY];
      if (toX < 0 || toX >= SIDE || toY < 0 || toY >= SIDE) continue;
      // The array of bytes cuts the fraction off.
      pixels[toY * SIDE + toX] = Math.fround(small[y * INNER + x] + ROUNDING);
    }
  }
  return pixels;
}

// The box of all ink: left, top, right, bottom, the last two exclusive.
function bounds(ink, width, height) {
  let [left, top, right, bottom] = [width, height, 0, 0];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!ink[y * width + x]) continue;
      left = Math.min(left, x);
      right = Math.max(right, x + 1);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y + 1);
    }
  }
  return [left, top, right, bottom];
}

// Means over 20 × 20 equal cells of a square of `side`, the plane in its middle.
function areaResample(plane, width, height, side) {
  const rows = overlaps(height, side), columns = overlaps(width, side);
  const half = new Float32Array(INNER * width);
  const sums = new Float64Array(width);
  for (let bin = 0; bin < INNER; bin++) {
    sums.fill(0);
    for (let y = 0; y < height; y++) {
      const weight = rows[bin * height + y];
      for (let x = 0; weight && x < width; x++) sums[x] += weight * plane[y * width + x];
    }
    half.set(sums, bin * width);
  }
  const means = new Float32Array(INNER * INNER);
  for (let row = 0; row < INNER; row++) {
    for (let bin = 0; bin < INNER; bin++) {
      let sum = 0;
      for (let x = 0; x < width; x++) sum += half[row * width + x] * columns[bin * width + x];
      means[row * INNER + bin] = sum;
    }
  }
  return means;
}

// Which part of each cell each of `length` pixels, centered in `side`, covers.
function overlaps(length, side) {
  const cell = side / INNER, before = Math.floor((side - length) / 2);
  const weights = new Float32Array(INNER * length);
  for (let bin = 0; bin < INNER; bin++) {
    const from = bin * cell - before, to = (bin + 1) * cell - before;
    for (let at = 0; at < length; at++) {
      weights[bin * length + at] = Math.max(Math.min(to, at + 1) - Math.max(from, at), 0) / cell;
    }
  }
  return weights;
}

function shift(center) {
  // Where a drawing is symmetric, its center is a whole number but for the last digits.
  return Math.trunc(15 - Math.fround(center));
}
