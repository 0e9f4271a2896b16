// Converts a drawing to MNIST's format in the browser: the digit is scaled to fit 20 × 20 pixels and
// centered by its center of mass in 28 × 28.
//
// A port of runtime/preprocess/mnist_format.py (`to_mnist_format`, `area_resample`), line by line and
// in single precision like NumPy. tests/export/test_web.py compares both on the same drawings. The
// Python module names the sources of the recipe.

export const SIDE_PX = 28; // side of the model's input
const INNER_PX = 20; // side of the box that the digit is scaled to
const MIN_SIDE_PX = 10; // a smaller drawing is not enlarged to fill the box
// Added before truncation. Fractions from 0.499 round up, so that an exact half does so in any order of
// summation.
const ROUNDING = 0.5 + 2 ** -10;

// Return the darkness of each pixel of a canvas, 0 to 255, row by row.
export function inkOf(canvas) {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  return Uint8Array.from({ length: width * height }, (_, i) => 255 - data[4 * i]);
}

// Return the model's input for an image of ink (0 to 255, row by row): a Uint8Array of 28 × 28 pixels
// from 0 (background) to 255 (ink).
export function toMnistFormat(ink, width, height) {
  const pixels = new Uint8Array(SIDE_PX * SIDE_PX);
  const [left, top, right, bottom] = bounds(ink, width, height);
  if (right <= left) return pixels;
  const [w, h] = [right - left, bottom - top];
  const tight = new Float32Array(w * h);
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) tight[y * w + x] = ink[(top + y) * width + left + x];
  }
  const small = areaResample(tight, w, h, Math.max(w, h, MIN_SIDE_PX));
  const scale = Math.fround(255 / small.reduce((largest, value) => Math.max(largest, value)));
  let mass = 0, momentX = 0, momentY = 0;
  for (let i = 0; i < small.length; i++) {
    small[i] *= scale;
    mass += small[i];
    momentX += small[i] * ((i % INNER_PX) + 0.5);
    momentY += small[i] * (Math.floor(i / INNER_PX) + 0.5);
  }
  const shiftX = shift(momentX / mass), shiftY = shift(momentY / mass);
  for (let y = 0; y < INNER_PX; y++) {
    for (let x = 0; x < INNER_PX; x++) {
      const [toX, toY] = [x + shiftX, y + shiftY];
      if (toX < 0 || toX >= SIDE_PX || toY < 0 || toY >= SIDE_PX) continue;
      // Uint8Array truncates the fraction.
      pixels[toY * SIDE_PX + toX] = Math.fround(small[y * INNER_PX + x] + ROUNDING);
    }
  }
  return pixels;
}

// Return the bounding box of all ink: left, top, right, bottom; right and bottom are exclusive.
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

// Resample by area averaging: the means of 20 × 20 equal cells of a square with this side, which has
// the plane (width × height) at its center.
function areaResample(plane, width, height, side) {
  const rows = overlaps(height, side), columns = overlaps(width, side);
  const half = new Float32Array(INNER_PX * width);
  const sums = new Float64Array(width);
  for (let bin = 0; bin < INNER_PX; bin++) {
    sums.fill(0);
    for (let y = 0; y < height; y++) {
      const weight = rows[bin * height + y];
      for (let x = 0; weight && x < width; x++) sums[x] += weight * plane[y * width + x];
    }
    half.set(sums, bin * width);
  }
  const means = new Float32Array(INNER_PX * INNER_PX);
  for (let row = 0; row < INNER_PX; row++) {
    for (let bin = 0; bin < INNER_PX; bin++) {
      let sum = 0;
      for (let x = 0; x < width; x++) sum += half[row * width + x] * columns[bin * width + x];
      means[row * INNER_PX + bin] = sum;
    }
  }
  return means;
}

// Return the share of each cell that each of `length` pixels covers; the pixels are centered in `side`.
function overlaps(length, side) {
  const cell = side / INNER_PX, before = Math.floor((side - length) / 2);
  const weights = new Float32Array(INNER_PX * length);
  for (let bin = 0; bin < INNER_PX; bin++) {
    const from = bin * cell - before, to = (bin + 1) * cell - before;
    for (let i = 0; i < length; i++) {
      weights[bin * length + i] = Math.max(Math.min(to, i + 1) - Math.max(from, i), 0) / cell;
    }
  }
  return weights;
}

// Return the shift in whole pixels that moves the center of mass into (14, 15]. In single precision the
// center of a symmetric drawing is a whole number in Python and here.
function shift(center) {
  return Math.trunc(15 - Math.fround(center));
}
