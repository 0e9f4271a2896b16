// A second look at what may be no digit: turned, slanted, thicker and thinner it is still the same.
// But for a B: it needs an eye of its own. Mirrors runtime/doubt.py.

import { affine, rank, resize } from "./pillow.js";
import { SIDE as FORM, normalise } from "./preprocess.js";
import { mean } from "./relief.js";

const WAYS = [[0, 0], [0.2, 0], [-0.2, 0], [0, 0.25], [0, -0.25]];
const SIDE = 84, FAINT = 40;
const PENS = [(one) => one, (one) => rank(one, 5, Math.max), (one) => rank(one, 3, Math.min)];

const INK = 100, TURN = 0.12, STRAIGHT = 0.4;

// Whether the left side of the ink is one straight line: a B's, where an 8 has a waist.
export function hasStraightBack(pixels) {
  const lines = Array.from({ length: FORM }, (_, y) => pixels.slice(y * FORM, (y + 1) * FORM));
  const left = lines.map((line) => line.findIndex((value) => value >= INK));
  const inked = lines.map((_, y) => y).filter((y) => left[y] >= 0);
  const height = inked.length ? inked.at(-1) - inked[0] + 1 : 0, turn = Math.round(TURN * height);
  if (height < 10 || inked.length < height) return false;
  const at = inked.slice(turn, height - turn);
  const edge = at.map((y) => {
    const first = lines[y][left[y]], before = left[y] ? lines[y][left[y] - 1] : 0;
    return left[y] - (first - INK) / (first - before);
  });
  const middle = mean(at), centre = mean(edge);
  const slope = mean(at.map((y, i) => (y - middle) * (edge[i] - centre))) / mean(at.map((y) => (y - middle) ** 2));
  const astray = edge.map((x, i) => Math.abs(x - centre - slope * (at[i] - middle)));
  return Math.max(...astray) < (STRAIGHT * height) / 20;
}

// The same ink written differently: 15 times 28 × 28 pixels.
export function variants(pixels) {
  const large = resize({ data: pixels, width: FORM, height: FORM }, SIDE, SIDE, "bicubic");
  const middle = SIDE / 2;
  return WAYS.flatMap(([turn, slant]) => {
    const [cos, sin] = [Math.cos(turn), Math.sin(turn)];
    const [a, b, d, e] = [cos, cos * slant - sin, sin, sin * slant + cos];
    const x = middle - (a * middle + b * middle), y = middle - (d * middle + e * middle);
    const moved = affine(large, [a, b, x, d, e, y]);
    return PENS.map((pen) =>
      normalise(pen(moved).data.map((value) => (value > FAINT ? value : 0)), SIDE, SIDE));
  });
}
