// Takes uneven light and the ground's noise out of a grey picture. Mirrors runtime/relief.py,
// function by function; the reasons stand there.

import { plane, resize, transpose } from "./pillow.js";

const COARSE = 48, WIDEST_STROKE = 0.4, RIDGE = 1e-2, UNDECIDED = 0.02;
export const NOISE_FACTOR = 4, LEAST_CONTRAST = 10, LEAST_AREA = 6;

// { depth: a plane of floats, floor, level, dark, undecided }; null where the picture is blank.
export function findRelief(grey) {
  const { width, height } = grey;
  let coarse = floats(resize(grey, Math.min(width, COARSE), Math.min(height, COARSE), "box"));
  let depth = floats(grey);
  const lightness = lightnessOf(coarse), dark = lightness <= 0;
  if (dark) [depth, coarse] = [depth, coarse].map((one) => map(one, (value) => 255 - value));
  const surface = smoothLight(coarse);
  const window = Math.trunc(WIDEST_STROKE * Math.max(coarse.width, coarse.height)) | 1;
  const without = opening(map(coarse, (value, i) => value - surface.data[i]), window);
  const light = resize(
    map(opening(coarse, window), (value, i) => Math.max(value, surface.data[i] + without.data[i])),
    width, height, "bilinear",
  );
  depth = map(depth, (value, i) => value - light.data[i]);
  const [ground, noise] = findGround(depth.data);
  depth = map(depth, (value) => Math.max(value - ground, 0));
  const floor = Math.max(NOISE_FACTOR * noise, LEAST_CONTRAST);
  const candidates = depth.data.filter((value) => value > Math.fround(floor));
  if (candidates.length < LEAST_AREA) return null;
  const threshold = Math.fround(otsu(candidates)[0]);
  const level = mean(candidates.filter((value) => value >= threshold));
  return { depth, floor, level, dark, undecided: Math.abs(lightness) < UNDECIDED };
}

export function map(one, change) {
  const made = plane(one.width, one.height, Float32Array);
  for (let i = 0; i < made.data.length; i++) made.data[i] = change(one.data[i], i);
  return made;
}

export function mean(values) {
  let sum = 0;
  for (const value of values) sum += value;
  return sum / values.length;
}

function floats(one) {
  return map(one, (value) => value);
}

// The quadratic surface through the ground, brighter pixels counting for less and less.
function smoothLight(coarse) {
  const { data, width, height } = coarse;
  const at = (i, length) => Math.fround(length > 1 ? (2 * i) / (length - 1) - 1 : -1);
  const terms = (i) => {
    const x = at(i % width, width), y = at(Math.floor(i / width), height);
    return [1, x, y, x * x, x * y, y * y];
  };
  const sparse = [], values = [];
  for (let y = 0; y < height; y += 2) {
    for (let x = 0; x < width; x += 2) {
      sparse.push(terms(y * width + x));
      values.push(data[y * width + x]);
    }
  }
  let weights = values.map(() => 1), fit;
  for (let round = 0; round < 4; round++) {
    const normal = Array.from({ length: 6 }, (_, i) =>
      Array.from({ length: 7 }, (_, j) => (i === j ? RIDGE : 0)));
    sparse.forEach((term, n) => {
      for (let i = 0; i < 6; i++) {
        const weighted = weights[n] * term[i];
        for (let j = 0; j < 6; j++) normal[i][j] += weighted * term[j];
        normal[i][6] += weighted * values[n];
      }
    });
    fit = solve(normal);
    const above = values.map((value, n) => value - dot(fit, sparse[n]));
    const scale = mean(above.map(Math.abs)) + 0.5;
    weights = above.map((value) => (1 + (Math.max(value, 0) / scale) ** 2) ** -2);
  }
  return map(coarse, (_, i) => dot(fit, terms(i)));
}

function dot(one, other) {
  return one.reduce((sum, value, i) => sum + value * other[i], 0);
}

// Gauss's elimination, the largest pivot first; each row ends with its right-hand side.
function solve(rows) {
  const count = rows.length;
  for (let i = 0; i < count; i++) {
    let best = i;
    for (let r = i + 1; r < count; r++) if (Math.abs(rows[r][i]) > Math.abs(rows[best][i])) best = r;
    [rows[i], rows[best]] = [rows[best], rows[i]];
    for (let r = 0; r < count; r++) {
      const factor = rows[r][i] / rows[i][i];
      if (r !== i) for (let c = i; c <= count; c++) rows[r][c] -= factor * rows[i][c];
    }
  }
  return rows.map((row, i) => row[count] / row[i]);
}

// Above 0 where ink is lighter than its ground. Ink is the minority, so that grey levels are skewed
// towards it; and it shuns the rim.
function lightnessOf(coarse) {
  const { width, height } = coarse;
  let score = 0, spread = 0, local = [];
  for (const part of [0.15, 0.5]) {
    const around = localMean(coarse, Math.trunc(part * Math.max(width, height)) >> 1);
    local = coarse.data.map((value, i) => value - around.data[i]);
    const middle = mean(local);
    local = local.map((value) => value - middle);
    spread = Math.sqrt(mean(local.map((value) => value ** 2)));
    if (spread > 0) score += mean(local.map((value) => value ** 3)) / spread ** 3;
  }
  if (spread > 0) {
    const rim = [];
    for (let x = 0; x < width; x++) rim.push(local[x], local[(height - 1) * width + x]);
    for (let y = 0; y < height; y++) rim.push(local[y * width], local[(y + 1) * width - 1]);
    score -= mean(rim) / spread;
  }
  return score;
}

function localMean(one, half) {
  const rows = ({ data, width, height }) => {
    const made = plane(width, height, Float32Array);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const from = Math.max(x - half, 0), to = Math.min(x + half + 1, width);
        made.data[y * width + x] = mean(data.subarray(y * width + from, y * width + to));
      }
    }
    return made;
  };
  return transpose(rows(transpose(rows(one))));
}

// Takes out what is brighter than its surroundings and fits in the window.
function opening(one, window) {
  const eroded = extreme(one, window, Math.min);
  return extreme(eroded, window, Math.max);
}

// The greatest or the least value in a square of an odd number of pixels.
function extreme(one, window, choose) {
  const half = window >> 1;
  const rows = ({ data, width, height }) => {
    const made = plane(width, height, Float32Array);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        let best = data[y * width + x];
        const to = y * width + Math.min(x + half, width - 1);
        for (let i = y * width + Math.max(x - half, 0); i <= to; i++) best = choose(best, data[i]);
        made.data[y * width + x] = best;
      }
    }
    return made;
  };
  return transpose(rows(transpose(rows(one))));
}

// The ground's level and its noise's standard deviation, from the side without ink.
function findGround(depth) {
  const step = Math.max(1, Math.floor(depth.length / 2048));
  let sample = depth.filter((_, i) => i % step === 0).sort();
  const [threshold, parted] = otsu(sample);
  const share = sample.filter((value) => value < threshold).length;
  if (parted > 0.8 && share < 0.6 * sample.length) sample = sample.subarray(0, share);
  const ground = sample[sample.length >> 1];
  return [ground, ground - sample[Math.trunc(0.16 * sample.length)]];
}

// The threshold that parts values, a Float32Array, best in two; the part of the variance it explains.
function otsu(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (high <= low) return [low, 0];
  const scale = Math.fround(63.99 / (high - low));
  const counts = new Array(64).fill(0);
  for (const value of values) counts[Math.trunc(Math.fround(Math.fround(value - low) * scale))]++;
  const average = counts.reduce((sum, count, level) => sum + count * level, 0) / values.length;
  let best = 0, most = -1, below = 0, moment = 0, variance = 0;
  counts.forEach((count, level) => { variance += count * (level - average) ** 2; });
  for (let level = 0; level < 63; level++) {
    below += counts[level];
    moment += counts[level] * level;
    const between = (average * below - moment) ** 2 / (below * (values.length - below));
    if (between > most) [best, most] = [level, between];
  }
  return [low + ((best + 1) * (high - low)) / 64, (most / variance) * values.length];
}
