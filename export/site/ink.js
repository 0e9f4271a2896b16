// Finds the ink of one digit in a grey picture. Mirrors runtime/ink.py, function by function; the
// reasons stand there.

import { around, crop, findComponents, findRuns, paintRuns } from "./components.js";
import { plane, transpose } from "./pillow.js";
import { LEAST_AREA, findRelief, map } from "./relief.js";

export const STROKE_LEVEL = 0.3, THIN_STROKE = 1.8;
const REACHES = 0.04, SOLID = 0.42, MOST_CLUTTER = 1.5;

// { ink: a plane of floats, 0 to 1, cut to its box, box, dark, odd }; null where there is no ink.
export function findInk(grey) {
  const relief = findRelief(grey);
  if (relief === null) return null;
  const { depth, level, floor, dark, undecided } = relief;
  const least = Math.fround(Math.max(STROKE_LEVEL * level, 0.75 * floor));
  const mask = above(depth, least);
  const chosen = choose(transpose(withoutLines(transpose(withoutLines(mask)))), depth);
  if (chosen === null) return null;
  const { kept, box, odd } = chosen;
  const ink = map(crop(depth, box), (value, i) => kept.data[i] && Math.min(value / Math.fround(level), 1));
  return { ink: thicken(ink), box, dark, odd: odd || undecided || isSolid(kept) };
}

// How often ink and ground change along rows and columns.
function countSteps({ data, width, height }) {
  let steps = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = y * width + x;
      steps += (x + 1 < width && data[at] !== data[at + 1]) + (y + 1 < height && data[at] !== data[at + width]);
    }
  }
  return steps;
}

function count(mask) {
  return mask.data.reduce((sum, value) => sum + value, 0);
}

export function above({ data, width, height }, level) {
  const mask = plane(width, height);
  for (let i = 0; i < data.length; i++) mask.data[i] = data[i] > level;
  return mask;
}

// Whether this is a filled shape rather than a stroke.
export function isSolid(mask) {
  const { data, width, height } = mask;
  let outer = 0;
  for (let x = 0; x < width; x++) outer += data[x] + data[(height - 1) * width + x];
  for (let y = 0; y < height; y++) outer += data[y * width] + data[(y + 1) * width - 1];
  const mean = (2 * count(mask)) / ((Math.PI / 4) * (countSteps(mask) + outer));
  return mean > SOLID * Math.max(width, height);
}

// Widen strokes that would be too thin, among MNIST's, once the digit is 20 pixels high.
export function thicken(ink) {
  const mask = above(ink, 0.5), side = Math.max(ink.width, ink.height);
  const mean = (2 * count(mask)) / Math.max((Math.PI / 4) * countSteps(mask), 1);
  const extra = Math.min(Math.trunc((THIN_STROKE * side) / 20 - mean + 0.5), Math.floor(side / 8));
  if (extra < 1) return ink;
  const rows = ({ data, width, height }) => {
    const made = plane(width + extra, height, Float32Array);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < made.width; x++) {
        let most = 0;
        for (let u = Math.max(x - extra, 0); u <= Math.min(x, width - 1); u++) most = Math.max(most, data[y * width + u]);
        made.data[y * made.width + x] = most;
      }
    }
    return made;
  };
  return transpose(rows(transpose(rows(ink))));
}

// Take out thin horizontal lines from the edge of the picture, but not the strokes across. A line
// may be broken for the part `broken` of the picture's width; the part `inked` of its own length, at
// least, is ink.
export function withoutLines(mask, broken = 0.1, inked = 0) {
  const { data, width, height } = mask;
  const left = Math.trunc(REACHES * width), right = Math.ceil((1 - REACHES) * (width - 1));
  if (Math.min(height, width) < 32) return mask;
  if (!data.some((value, i) => value && (i % width <= left || i % width >= right))) return mask;
  const thick = plane(width, height);
  let fullest = 0;
  for (let y = 0; y < height; y++) {
    let full = 0;
    for (let x = 0; x < width; x++) {
      let on = 0;
      for (let v = Math.max(y - 2, 0); v <= Math.min(y + 2, height - 1); v++) on |= data[v * width + x];
      thick.data[y * width + x] = on;
      full += on;
    }
    fullest = Math.max(fullest, full);
  }
  if (fullest < 0.25 * width) return mask;
  const line = longRuns(thick, broken, inked);
  const columns = Array.from({ length: width }, (_, x) => x).filter((x) => {
    for (let y = 0; y < height; y++) if (line.data[y * width + x]) return true;
    return false;
  });
  if (!columns.length || (columns[0] > left && columns.at(-1) < right)) return mask;
  const [starts, ends] = findRuns(transpose(mask));
  const stride = height + 1;
  const onLine = starts.map((start, i) => i).filter((i) => {
    const middle = (starts[i] + ends[i]) >> 1;
    return line.data[(middle % stride) * width + Math.floor(middle / stride)];
  });
  if (!onLine.length) return mask;
  const thickness = median(onLine.map((i) => ends[i] - starts[i]));
  if (thickness > 0.02 * Math.max(height, width)) return mask;
  const gone = onLine.filter((i) => ends[i] - starts[i] <= 1.5 * thickness + 1);
  const lines = transpose(paintRuns(gone.map((i) => starts[i]), gone.map((i) => ends[i]), height, width));
  const cleared = plane(width, height);
  for (let i = 0; i < data.length; i++) cleared.data[i] = data[i] && !lines.data[i];
  return cleared;
}

// The mask of the runs that go on for long, small gaps closed, the part `inked` of them ink.
function longRuns(mask, broken, inked) {
  const { width, height } = mask;
  const [starts, ends] = findRuns(mask);
  const from = [], to = [], ink = [];
  starts.forEach((start, i) => {
    const sameRow = i > 0 && Math.floor(start / (width + 1)) === Math.floor(starts[i - 1] / (width + 1));
    if (sameRow && start - ends[i - 1] <= broken * width) to[to.length - 1] = ends[i];
    else {
      from.push(start);
      to.push(ends[i]);
      ink.push(0);
    }
    ink[ink.length - 1] += ends[i] - start;
  });
  const lengths = from.map((start, i) => to[i] - start);
  const long = [...lengths.keys()]
    .filter((i) => lengths[i] > 0.4 * width && ink[i] >= inked * lengths[i]);
  return paintRuns(long.map((i) => from[i]), long.map((i) => to[i]), width, height);
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b), half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

// The component that is the digit, with the pieces that lie close to it, cut to its box; `odd`
// where it stands amid more ink than its own, or around ink apart from its own.
function choose(mask, depth) {
  const found = findComponents(mask, depth);
  const chosen = found && gather(found, found.mass);
  if (chosen === null) return null;
  const { boxes, mass } = found;
  const { main, kept, box, rims } = chosen;
  let others = 0, own = 0;
  mass.forEach((value, i) => {
    if (kept.has(i)) own += value;
    else if (!rims[i] && value > 0.05 * mass[main]) others += value;
  });
  let odd = others > MOST_CLUTTER * own;
  const pieces = [...kept].filter((i) => mass[i] > 0.03 * mass[main]);
  if (pieces.length > 1) {
    const outline = found.paint((i) => i === main, box);
    odd ||= pieces.some((i) => surrounds(outline, boxes[i].map((edge, side) => edge - box[side % 2])));
  }
  return { kept: found.paint((i) => kept.has(i), box), box, odd };
}

// The component that counts for most where it lies, and those that lie close to it: { main, kept:
// their numbers, box, rims }; null where that is too small, or a corner of something else. `weight`
// is what each counts for by itself; of two that score the same the first in `order` is taken.
export function gather({ width, height, boxes, area }, weight, order = [...boxes.keys()]) {
  const rims = boxes.map(([left, top, right, bottom]) =>
    (left === 0) + (top === 0) + (right === width) + (bottom === height));
  const corner = boxes.map(([left, top, right, bottom], i) =>
    rims[i] >= 2 && (right - left) * (bottom - top) < 0.25 * height * width);
  const score = boxes.map(([left, top, right, bottom], i) => {
    const x = (left + right) / 2 / width - 0.5, y = (top + bottom) / 2 / height - 0.5;
    return weight[i] * Math.exp(-4 * (x * x + y * y)) * (rims[i] ? 0.2 : 1) * (corner[i] ? 0.1 : 1);
  });
  const main = order.reduce((best, i) => (score[i] > score[best] ? i : best));
  if (area[main] < LEAST_AREA || corner[main]) return null;
  const kept = new Set([main]);
  let box = boxes[main];
  for (let round = 0; round < 3; round++) {
    const reach = 0.15 * Math.max(box[2] - box[0], box[3] - box[1]);
    boxes.forEach((other, i) => {
      const gap = Math.max(other[0] - box[2], other[1] - box[3], box[0] - other[2], box[1] - other[3]);
      if (weight[i] > 0.03 * weight[main] && (!rims[i] || rims[main]) && gap <= reach) kept.add(i);
    });
    box = around([...kept].map((i) => boxes[i]));
  }
  return { main, kept, box, rims };
}

// Whether there is outline on all four sides of a box: no digit has ink apart in its hole.
function surrounds({ data, width, height }, [left, top, right, bottom]) {
  const x = (left + right) >> 1, y = (top + bottom) >> 1;
  const across = (from, to) => data.subarray(y * width + from, y * width + to).some(Boolean);
  const down = (from, to) => {
    for (let v = from; v < to; v++) if (data[v * width + x]) return true;
    return false;
  };
  return across(0, left) && across(right, width) && down(0, top) && down(bottom, height);
}
