// Connected components of a mask, from its runs. Mirrors runtime/components.py.

import { plane } from "./pillow.js";

// [start, end) of each row's runs, counted along rows of width + 1 pixels.
export function findRuns({ data, width, height }) {
  const starts = [], ends = [];
  for (let y = 0; y < height; y++) {
    for (let x = 0, inside = false; x <= width; x++) {
      const now = x < width && data[y * width + x] > 0;
      if (now !== inside) (now ? starts : ends).push(y * (width + 1) + x);
      inside = now;
    }
  }
  return [starts, ends];
}

export function paintRuns(starts, ends, width, height) {
  const mask = plane(width, height);
  starts.forEach((start, i) => {
    const row = Math.floor(start / (width + 1));
    mask.data.fill(1, start - row, ends[i] - row); // each row is a pixel shorter here
  });
  return mask;
}

// The number of the 8-connected component that each run belongs to, in the order of first runs.
function labelRuns(starts, ends, stride) {
  const root = starts.map((_, i) => i);
  const find = (i) => {
    while (root[i] !== i) i = root[i] = root[root[i]];
    return i;
  };
  let first = 0;
  for (let upper = 0; upper < starts.length; upper++) {
    while (first < starts.length && ends[first] < starts[upper] + stride) first++;
    for (let lower = first; lower < starts.length && starts[lower] <= ends[upper] + stride; lower++) {
      const [one, other] = [find(upper), find(lower)];
      root[Math.max(one, other)] = Math.min(one, other);
    }
  }
  const numbers = new Map();
  return root.map((_, i) => {
    const own = find(i);
    if (!numbers.has(own)) numbers.set(own, numbers.size);
    return numbers.get(own);
  });
}

// { starts, ends, labels, boxes: [left, top, right, bottom] each, area, mass, paint }; null where
// the mask is empty. `mass` is the sum of the depth.
export function findComponents(mask, depth) {
  const { width, height } = mask;
  const [starts, ends] = findRuns(mask);
  if (!starts.length) return null;
  const stride = width + 1;
  const labels = labelRuns(starts, ends, stride);
  const boxes = [], area = [], mass = [];
  const sums = sumRuns(starts, ends, depth);
  starts.forEach((start, i) => {
    const label = labels[i], row = Math.floor(start / stride);
    const left = start - row * stride, right = ends[i] - row * stride;
    const box = (boxes[label] ??= [width, height, 0, 0]);
    boxes[label] = around([box, [left, row, right, row + 1]]);
    area[label] = (area[label] ?? 0) + ends[i] - start;
    mass[label] = (mass[label] ?? 0) + sums[i];
  });
  // The mask of those for which `chosen(number)`, cut to a box that holds them all.
  const paint = (chosen, box) => {
    const ours = starts.map((_, i) => i).filter((i) => chosen(labels[i]));
    return crop(paintRuns(ours.map((i) => starts[i]), ours.map((i) => ends[i]), width, height), box);
  };
  return { width, height, starts, ends, labels, boxes, area, mass, paint };
}

export function sumRuns(starts, ends, { data, width }) {
  return starts.map((start, i) => {
    const row = Math.floor(start / (width + 1));
    let sum = 0;
    for (let at = start - row; at < ends[i] - row; at++) sum += data[at];
    return sum;
  });
}

// The box around boxes.
export function around(boxes) {
  return boxes.reduce(([left, top, right, bottom], box) => [
    Math.min(left, box[0]), Math.min(top, box[1]), Math.max(right, box[2]), Math.max(bottom, box[3]),
  ]);
}

export function crop({ data, width }, [left, top, right, bottom]) {
  const made = plane(right - left, bottom - top, data.constructor);
  for (let y = top; y < bottom; y++) {
    made.data.set(data.subarray(y * width + left, y * width + right), (y - top) * (right - left));
  }
  return made;
}
