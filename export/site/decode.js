// A canvas as a small grey picture. Mirrors runtime/decode.py and grey.py where Pillow has an image in modes L,
// RGB, LA and RGBA; the browser has opened the file and turned it upright.
//
// A canvas does not say whether its file held colours: it holds them here where one pixel does, and
// transparency where one pixel is not opaque. Colours under full transparency are lost to it.

import { median } from "./ink.js";
import { plane, resize, roundHalfEven } from "./pillow.js";
import { mean } from "./relief.js";

export class Picture {
  constructor(canvas) {
    const { width, height } = canvas;
    Object.assign(this, { width, height });
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    this.rgba = data;
    this.coloured = this.transparent = false;
    for (let i = 0; i < data.length; i += 4) {
      this.coloured ||= data[i] !== data[i + 1] || data[i + 1] !== data[i + 2];
      this.transparent ||= data[i + 3] < 255;
    }
  }

  // Grey, its longest side reduced to `longest`: the luminance, or with `colour` the axis along
  // which the colours differ most.
  grey(longest, colour = false) {
    if (colour) return this.#principalAxis(longest);
    const luminance = this.#band((data, i) =>
      (data[i] * 19595 + data[i + 1] * 38470 + data[i + 2] * 7471 + 0x8000) >> 16);
    if (!this.transparent) return fit(luminance, longest);
    const alpha = this.#band((data, i) => data[i + 3]);
    if (Math.max(this.width, this.height) <= longest) return composite(luminance, alpha);
    // Pillow resizes what is multiplied by its alpha.
    luminance.data.forEach((value, i) => {
      const product = value * alpha.data[i] + 128;
      luminance.data[i] = ((product >> 8) + product) >> 8;
    });
    const [light, cover] = [fit(luminance, longest), fit(alpha, longest)];
    light.data.forEach((value, i) => {
      if (cover.data[i]) light.data[i] = Math.min(Math.floor((255 * value) / cover.data[i]), 255);
    });
    return composite(light, cover);
  }

  #band(value) {
    const made = plane(this.width, this.height);
    for (let i = 0; i < made.data.length; i++) made.data[i] = value(this.rgba, 4 * i);
    return made;
  }

  #principalAxis(longest) {
    const bands = [0, 1, 2].map((band) => fit(this.#band((data, i) => data[i + band]), longest));
    const around = bands.map(({ data }) => {
      const middle = mean(data);
      return Float64Array.from(data, (value) => value - middle);
    });
    const spread = around.map((one) =>
      around.map((other) => one.reduce((sum, value, i) => sum + value * other[i], 0)));
    const axis = largestAxis(spread);
    const made = plane(bands[0].width, bands[0].height);
    const values = around[0].map((_, i) => axis.reduce((sum, part, band) => sum + part * around[band][i], 0));
    const middle = median(values);
    values.forEach((value, i) => {
      made.data[i] = Math.min(Math.max(roundHalfEven(value + 128 - middle), 0), 255);
    });
    return made;
  }
}

function fit(one, longest) {
  const most = Math.max(one.width, one.height);
  if (most <= longest) return one;
  const size = (length) => Math.max(1, roundHalfEven(length * (longest / most)));
  return resize(one, size(one.width), size(one.height), "bilinear", 2);
}

// Lay a transparent picture over a ground: its own where it has one, else what it contrasts with.
function composite(luminance, alpha) {
  const seen = luminance.data.filter((_, i) => alpha.data[i] / 255 > 0.5).sort();
  let ground = seen.length && mean(seen) >= 128 ? 0 : 255;
  if (seen.length > 0.5 * alpha.data.length && percentile(seen, 98) - percentile(seen, 2) > 48) {
    ground = median(seen);
  }
  const made = plane(alpha.width, alpha.height);
  for (let i = 0; i < made.data.length; i++) {
    const share = alpha.data[i] / 255;
    made.data[i] = roundHalfEven(luminance.data[i] * share + ground * (1 - share));
  }
  return made;
}

// As numpy.percentile of what is sorted.
function percentile(sorted, percent) {
  const at = ((sorted.length - 1) * percent) / 100, below = Math.floor(at);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (at - below);
}

// The eigenvector of the greatest eigenvalue of a symmetric matrix, by Jacobi's rotations.
function largestAxis(matrix) {
  const count = matrix.length;
  const axes = matrix.map((_, i) => matrix.map((_, j) => Number(i === j)));
  for (let sweep = 0; sweep < 20; sweep++) {
    for (let p = 0; p < count; p++) {
      for (let q = p + 1; q < count; q++) {
        if (matrix[p][q] === 0) continue;
        const angle = 0.5 * Math.atan2(2 * matrix[p][q], matrix[q][q] - matrix[p][p]);
        const [c, s] = [Math.cos(angle), Math.sin(angle)];
        for (const rows of [matrix, axes]) {
          for (const row of rows) [row[p], row[q]] = [c * row[p] - s * row[q], s * row[p] + c * row[q]];
        }
        for (let k = 0; k < count; k++) {
          [matrix[p][k], matrix[q][k]] = [c * matrix[p][k] - s * matrix[q][k], s * matrix[p][k] + c * matrix[q][k]];
        }
      }
    }
  }
  const best = matrix.reduce((most, row, i) => (row[i] > matrix[most][most] ? i : most), 0);
  return axes.map((row) => row[best]);
}
