// Cuts ink in which digits touch into pieces, at every place where a digit may end. Mirrors
// runtime/cuts.py. A blob is { ink: a plane of floats, 0 to 1, box }.

import { around, crop } from "./components.js";
import { plane } from "./pillow.js";
import { map, mean } from "./relief.js";

const MOST_CUTS = 8, APART = 0.15, MOST_INK = 0.6, ASIDE = Math.fround(0.05);

// [[blob, ink cut through to its left in parts of `height`]], from left to right.
export function cut(blob, height) {
  const { width, height: rows } = blob.ink;
  const { paths, costs } = seams(blob.ink);
  const kept = [];
  const cheapest = costs.map((_, i) => i).sort((a, b) => costs[a] - costs[b]);
  for (const number of cheapest) {
    if (costs[number] > MOST_INK * height || kept.length === MOST_CUTS) break;
    const apart = (other) => mean(paths[number].map((x, row) => Math.abs(x - paths[other][row])));
    if (kept.every((other) => apart(other) >= APART * height)) kept.push(number);
  }
  kept.sort((a, b) => mean(paths[a]) - mean(paths[b]));
  const pieces = [];
  let passed = new Array(rows).fill(0), price = 0;
  for (const number of [...kept, -1]) {
    const until = number >= 0 ? paths[number] : new Array(rows).fill(width);
    const piece = tight(map(blob.ink, (value, i) => {
      const x = i % width, y = Math.floor(i / width);
      return x >= passed[y] && x < until[y] ? value : 0;
    }), blob);
    if (piece !== null) {
      pieces.push([piece, pieces.length ? price : 0]);
      price = 0;
    }
    if (number >= 0) price = Math.max(price, costs[number] / height);
    passed = passed.map((x, row) => Math.max(x, until[row]));
  }
  return pieces;
}

// The pieces as one.
export function join(pieces) {
  const box = around(pieces.map((piece) => piece.box));
  const [left, top, right, bottom] = box;
  const ink = plane(right - left, bottom - top, Float32Array);
  for (const { ink: { data, width }, box: [x0, y0] } of pieces) {
    data.forEach((value, i) => {
      const at = (y0 - top + Math.floor(i / width)) * ink.width + x0 - left + (i % width);
      ink.data[at] = Math.max(ink.data[at], value);
    });
  }
  return { ink, box };
}

// For each column at the top: its path through the least ink, and how much that is.
function seams({ data, width, height }) {
  let cost = data.slice((height - 1) * width);
  const steps = Array.from({ length: height }, () => new Int8Array(width));
  for (let row = height - 2; row >= 0; row--) {
    const above = new Float32Array(width);
    for (let x = 0; x < width; x++) {
      let least = cost[x], step = 0;
      for (const aside of [1, -1]) {
        const other = Math.fround((cost[x + aside] ?? Infinity) + ASIDE);
        if (other < least) [least, step] = [other, aside];
      }
      above[x] = data[row * width + x] + least;
      steps[row][x] = step;
    }
    cost = above;
  }
  const paths = Array.from({ length: width }, (_, start) => {
    let x = start;
    return steps.map((step) => {
      const here = x;
      x += step[x];
      return here;
    });
  });
  return { paths, costs: [...cost] };
}

function tight(ink, { box: [left, top] }) {
  const inked = [];
  ink.data.forEach((value, i) => {
    const x = i % ink.width, y = Math.floor(i / ink.width);
    if (value > 0) inked.push([x, y, x + 1, y + 1]);
  });
  if (!inked.length) return null;
  const box = around(inked);
  return { ink: crop(ink, box), box: box.map((edge, side) => edge + [left, top][side % 2]) };
}
