// A second look at what may be no digit: turned, slanted, thicker and thinner it is still the same.
// Mirrors runtime/doubt.py.

import { affine, rank, resize } from "./pillow.js";
import { SIDE as FORM, normalise } from "./preprocess.js";

const WAYS = [[0, 0], [0.2, 0], [-0.2, 0], [0, 0.25], [0, -0.25]];
const SIDE = 84, FAINT = 40;
const PENS = [(one) => one, (one) => rank(one, 5, Math.max), (one) => rank(one, 3, Math.min)];

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
