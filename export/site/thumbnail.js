// Finds the ink of one digit in a picture of few pixels, evenly lit. Mirrors runtime/thumbnail.py;
// its long integers are masks here, for a browser has time for a picture this small.

import { crop, findComponents } from "./components.js";
import { STROKE_LEVEL, above, gather, thicken } from "./ink.js";
import { LEAST_CONTRAST, NOISE_FACTOR, map, mean } from "./relief.js";

export const LONGEST = 31;
const EVEN = 20, OTHER_WAY = 0.35, MOST_COMPONENTS = 24;

// As `findInk` of ink.js; null where the light is uneven, ink goes both ways, or little or nothing
// is found: then that is to look at it.
export function findInk(grey) {
  const { data, width, height } = grey;
  const rim = [...data.subarray(0, width), ...data.subarray(-width)];
  for (let y = 0; y < height; y++) rim.push(data[y * width], data[(y + 1) * width - 1]);
  rim.sort((a, b) => a - b);
  const of = (share) => rim[Math.floor((rim.length * share) / 100)];
  if (of(90) - of(10) > EVEN) return null;
  const ground = rim[rim.length >> 1];
  const floor = Math.max((NOISE_FACTOR * (of(84) - of(16))) / 2, LEAST_CONTRAST);
  const marks = data.filter((value) => Math.abs(value - ground) > Math.trunc(floor));
  if (!marks.length) return null;
  const lighter = Math.max(...marks) - ground, darker = ground - Math.min(...marks);
  const peak = Math.max(lighter, darker);
  if (peak <= 2 * floor || Math.min(lighter, darker) > OTHER_WAY * peak) return null;
  const dark = darker > lighter;
  const depth = map(grey, (value) => (dark ? ground - value : value - ground));
  const level = mean(depth.data.filter((value) => value > Math.trunc(0.5 * peak)));
  const least = Math.trunc(Math.max(STROKE_LEVEL * level, 0.75 * floor));
  const mask = above(depth, least);
  const column = (x) => Array.from({ length: height }, (_, y) => mask.data[y * width + x]).some(Boolean);
  if (column(0) && column(width - 1)) return null;
  const chosen = choose(mask, depth);
  if (chosen === null) return null;
  const { kept, box } = chosen;
  const ink = map(crop(depth, box), (value, i) => kept.data[i] * Math.min(value * Math.fround(1 / level), 1));
  return { ink: thicken(ink), box, dark, odd: false };
}

// By the rules of ink.js, areas in place of the ink's mass.
function choose(mask, depth) {
  const found = findComponents(mask, depth);
  if (found === null || found.area.length > MOST_COMPONENTS) return null;
  // Python's grow from the last pixel: of two that score the same, the lower one is first.
  const chosen = gather(found, found.area, lowestFirst(found));
  return chosen && { kept: found.paint((i) => chosen.kept.has(i), chosen.box), box: chosen.box };
}

function lowestFirst({ labels }) {
  return [...new Set([...labels].reverse())];
}
