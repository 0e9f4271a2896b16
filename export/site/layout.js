// Finds the ink of several digits in a grey picture, and the lines that it stands in. Mirrors
// runtime/layout.py, function by function; the reasons stand there.

import { around, crop, findComponents, sumRuns } from "./components.js";
import { median, withoutLines } from "./ink.js";
import { plane, transpose } from "./pillow.js";
import { findRelief, map, mean } from "./relief.js";

const FAINT = 0.1, OWN_LEVEL = 0.3, BROKEN = 0.02, INKED = 0.7, GHOST = 0.25;
const SPECK = 0.25, TALL = 2.5, WIDE = 8, REACH = 6, RING = 0.2, MOST_DARK = 0.2;
const LEAST_HEIGHT = 5;

// { lines: from top to bottom, in each its blobs from left to right, height: a typical digit's };
// null where there is no writing.
export function findLines(grey) {
  const relief = findRelief(grey);
  if (relief === null || relief.undecided) return null;
  const { depth } = relief;
  const least = Math.fround(Math.max(FAINT * relief.level, relief.floor));
  let mask = plane(grey.width, grey.height);
  for (let i = 0; i < mask.data.length; i++) mask.data[i] = depth.data[i] > least;
  mask = transpose(withoutLines(transpose(withoutLines(mask, BROKEN, INKED)), BROKEN, INKED));
  const faint = findComponents(mask, depth);
  if (faint === null) return null;
  const level = plane(grey.width, grey.height, Float32Array);
  const strokes = levels(faint, depth);
  faint.starts.forEach((start, i) => {
    const row = Math.floor(start / (grey.width + 1));
    level.data.fill(strokes[faint.labels[i]], start - row, faint.ends[i] - row);
  });
  const strong = plane(grey.width, grey.height);
  for (let i = 0; i < mask.data.length; i++) {
    strong.data[i] = mask.data[i] && depth.data[i] > Math.fround(Math.fround(OWN_LEVEL) * level.data[i]);
  }
  const found = findComponents(strong, depth);
  if (found === null) return null;
  const height = typicalHeight(found);
  if (height < LEAST_HEIGHT) return null;
  const own = levels(found, depth);
  let writing = own.map((_, i) => i).filter((i) => isWriting(found, i, height));
  if (!writing.length) return null;
  const usual = average(writing.map((i) => own[i]), writing.map((i) => found.mass[i]));
  writing = writing.filter((i) => own[i] > GHOST * usual);
  const everything = found.paint(() => true, [0, 0, grey.width, grey.height]);
  const raw = map(grey, (value) => (relief.dark ? 255 - value : value));
  const blobs = group(found, writing, height)
    .map((members) => cutOut(found, own, depth, members))
    .filter((blob) => !isEdge(blob, raw, everything, height));
  const lines = arrange(blobs.map(({ box }) => box), height).map((line) => line.map((i) => blobs[i]));
  return lines.length ? { lines, height } : null;
}

function average(values, weights) {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return values.reduce((sum, value, i) => sum + value * weights[i], 0) / total;
}

// The depth of each component's strokes.
function levels({ starts, ends, labels, mass }, depth) {
  const [above, below] = [3, 2].map((power) => {
    const sums = new Array(mass.length).fill(0);
    sumRuns(starts, ends, map(depth, (value) => value ** power)).forEach((sum, i) => { sums[labels[i]] += sum; });
    return sums;
  });
  return above.map((value, i) => Math.fround(value / Math.max(below[i], 1e-6)));
}

function touchesRim({ width, height }, [left, top, right, bottom]) {
  return left === 0 || top === 0 || right === width || bottom === height;
}

// The median height, each component weighted by its ink; those on the picture's rim apart.
function typicalHeight(found) {
  let chosen = found.boxes.map((_, i) => i);
  const inside = chosen.filter((i) => !touchesRim(found, found.boxes[i]));
  if (inside.length) chosen = inside;
  const fourth = chosen.map((i) => found.mass[i]).sort((a, b) => b - a)[Math.min(chosen.length, 4) - 1];
  const heightOf = (i) => found.boxes[i][3] - found.boxes[i][1];
  const weights = found.mass.map((value) => Math.min(value, fourth));
  const half = chosen.reduce((sum, i) => sum + weights[i], 0) / 2;
  let sum = 0;
  const order = chosen.sort((a, b) => heightOf(a) - heightOf(b));
  return heightOf(order.find((i) => (sum += weights[i]) >= half) ?? order.at(-1));
}

function isWriting(found, i, height) {
  const [left, top, right, bottom] = found.boxes[i];
  const wide = right - left, high = bottom - top;
  const small = Math.max(wide, high) < SPECK * height;
  const large = high > TALL * height || wide > WIDE * height;
  const flat = high < 0.4 * height && wide > 3 * high && wide > 1.2 * height;
  const cut = touchesRim(found, found.boxes[i]) && (high < 0.6 * height || high > 1.5 * height);
  return !(small || large || flat || cut);
}

// Components that belong together whatever they are: one above the other, hardly apart.
function group(found, writing, height) {
  const boxes = writing.map((i) => found.boxes[i]);
  let root = writing.map((_, i) => i);
  boxes.forEach((a, one) => {
    const own = [a[2] - a[0], a[3] - a[1]];
    boxes.forEach((b, other) => {
      const across = Math.min(b[2], a[2]) - Math.max(b[0], a[0]);
      const down = Math.max(b[1], a[1]) - Math.min(b[3], a[3]);
      const wide = Math.min(b[2] - b[0], own[0]), high = Math.min(b[3] - b[1], own[1]);
      const above = across > 0.5 * wide;
      const beside = across > -0.1 * height && wide * high < 0.2 * height * height;
      const together = Math.max(b[3], a[3]) - Math.min(b[1], a[1]) < 1.8 * height;
      if (!(high < 0.6 * height && (above || beside) && down < 0.25 * height && together)) return;
      const old = root[other];
      root = root.map((number) => (number === old ? root[one] : number));
    });
  });
  return byNumber(root).map((members) => members.map((i) => writing[i]));
}

// Indices of each number, the numbers in order.
function byNumber(numbers) {
  const distinct = [...new Set(numbers)].sort((a, b) => a - b);
  return distinct.map((number) => numbers.flatMap((each, i) => (each === number ? [i] : [])));
}

// Whether this is the rim of something as dark as ink, a shadow or the end of the paper.
function isEdge({ ink, box: [left, top, right, bottom] }, raw, everything, height) {
  const reach = Math.max(2, Math.trunc(RING * height));
  const ring = [
    Math.max(left - reach, 0), Math.max(top - reach, 0),
    Math.min(right + reach, raw.width), Math.min(bottom + reach, raw.height),
  ];
  const taken = crop(everything, ring);
  const ground = crop(raw, ring).data.filter((_, i) => !taken.data[i]).sort();
  if (!ground.length) return false;
  const level = median(crop(raw, [left, top, right, bottom]).data.filter((_, i) => ink.data[i] > 0.5));
  const at = (ground.length - 1) / 4, below = Math.floor(at);
  const paper = ground[below] + ((ground[below + 1] ?? ground[below]) - ground[below]) * (at - below);
  return mean(ground.map((value) => Number(value > (level + paper) / 2))) > MOST_DARK;
}

// Indices of the boxes, line by line; a line may slant, and bend a little.
function arrange(boxes, height) {
  const centres = boxes.map(([left, top, right, bottom]) => [(left + right) / 2, (top + bottom) / 2]);
  const tilt = slope(centres.filter((_, i) => boxes[i][3] - boxes[i][1] > 0.5 * height), height);
  let root = boxes.map((_, i) => i);
  const level = centres.map(([x, y]) => y - tilt * x);
  const byLeft = (a, b) => centres[a][0] - centres[b][0];
  for (const one of boxes.map((_, i) => i).sort(byLeft)) {
    let least = Infinity;
    centres.forEach(([x], other) => {
      const left = centres[one][0] - x, off = Math.abs(level[other] - level[one]);
      if (left <= 0 || left >= REACH * height || off >= 0.55 * height || left + 2 * off >= least) return;
      least = left + 2 * off;
      root[one] = root[other];
    });
  }
  const at = (line) => mean(line.map((i) => level[i]));
  const byLevel = (a, b) => at(a) - at(b);
  const joined = [];
  for (const line of byNumber(root).sort(byLevel)) {
    if (joined.length && at(line) - at(joined.at(-1)) < 0.5 * height) joined.push([...joined.pop(), ...line]);
    else joined.push(line);
  }
  return joined.sort(byLevel).map((line) => line.sort(byLeft));
}

// How steeply the lines rise: the median over each digit's nearest one to the right.
function slope(centres, height) {
  const slopes = [];
  for (const [x, y] of centres) {
    let least = Infinity, nearest = null;
    for (const [u, v] of centres) {
      const right = u - x, down = v - y, distance = right + 2 * Math.abs(down);
      if (right <= 0.2 * height || right >= REACH * height || Math.abs(down) >= 0.5 * right) continue;
      if (distance < least) [least, nearest] = [distance, down / right];
    }
    if (nearest !== null) slopes.push(nearest);
  }
  return slopes.length ? median(slopes) : 0;
}

function cutOut(found, own, depth, members) {
  const box = around(members.map((i) => found.boxes[i]));
  const level = Math.fround(average(members.map((i) => own[i]), members.map((i) => found.mass[i])));
  const painted = found.paint((i) => members.includes(i), box);
  return { ink: map(crop(depth, box), (value, i) => painted.data[i] && Math.min(value / level, 1)), box };
}
