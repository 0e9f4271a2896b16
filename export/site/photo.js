// One digit in a photograph, in MNIST's form. Mirrors `view` in runtime/preprocess.py; what that
// stands on is mirrored under the same names: decode.js, relief.js, ink.js, components.js,
// thumbnail.js, doubt.js, and pillow.js for what Pillow does. tests/export/test_web.py holds both to
// the same pictures.

import { crop } from "./components.js";
import { Picture } from "./decode.js";
import { findInk } from "./ink.js";
import { SIDE, centred, isMnistForm } from "./preprocess.js";
import * as thumbnail from "./thumbnail.js";

const LONGEST = 192, SMALLEST = 28, ENLARGED = 48;
const DARK_ON_LIGHT = "dark on light", LIGHT_ON_DARK = "light on dark";

// { pixels: Uint8Array of 28 × 28, box: [left, top, right, bottom] on the canvas, polarity, method,
// odd } as the runtime's View.
export function view(canvas) {
  const picture = new Picture(canvas);
  const { width, height } = picture;
  let grey = picture.grey(LONGEST);
  if (grey.width === SIDE && grey.height === SIDE) {
    const inverted = grey.data[0] > 127;
    const pixels = inverted ? grey.data.map((value) => 255 - value) : grey.data;
    if (isMnistForm(pixels)) {
      const polarity = inverted ? DARK_ON_LIGHT : LIGHT_ON_DARK;
      return { pixels, box: [0, 0, SIDE, SIDE], polarity, method: "mnist", odd: false };
    }
  }
  let colour = false;
  let found = findEither(grey);
  if (found === null && picture.coloured) {
    colour = true;
    grey = picture.grey(LONGEST, colour);
    found = findEither(grey);
  }
  if (found === null) {
    const pixels = new Uint8Array(SIDE * SIDE);
    return { pixels, box: [0, 0, width, height], polarity: DARK_ON_LIGHT, method: "blank", odd: false };
  }
  let box = scaled(found.box, width / grey.width, height / grey.height);
  const side = Math.max(found.ink.width, found.ink.height);
  if (side < SMALLEST && Math.max(width, height) > LONGEST) {
    const longest = Math.min(Math.floor((LONGEST * ENLARGED) / side), Math.max(width, height));
    grey = picture.grey(longest, colour);
    const x = grey.width / width, y = grey.height / height;
    const margin = Math.max(box[2] - box[0], box[3] - box[1]) >> 1;
    const left = Math.max(Math.trunc((box[0] - margin) * x), 0);
    const top = Math.max(Math.trunc((box[1] - margin) * y), 0);
    const right = Math.min(Math.trunc((box[2] + margin) * x) + 1, grey.width);
    const bottom = Math.min(Math.trunc((box[3] + margin) * y) + 1, grey.height);
    const closer = findInk(crop(grey, [left, top, right, bottom]));
    if (closer !== null && closer.dark === found.dark) {
      // Close to, what else the picture holds is out of view.
      found = { ...closer, odd: closer.odd || found.odd };
      const [x0, y0, x1, y1] = closer.box;
      box = scaled([x0 + left, y0 + top, x1 + left, y1 + top], 1 / x, 1 / y);
    }
  }
  return {
    pixels: centred(found.ink),
    box,
    polarity: found.dark ? DARK_ON_LIGHT : LIGHT_ON_DARK,
    method: colour ? "colour" : "luminance",
    odd: found.odd,
  };
}

// The quick way where the picture is small and simple, the thorough one elsewhere.
function findEither(grey) {
  const small = Math.max(grey.width, grey.height) <= thumbnail.LONGEST;
  return (small ? thumbnail.findInk(grey) : null) ?? findInk(grey);
}

// A box in a picture whose pixels are `x` wide and `y` high, rounded outwards.
export function scaled([left, top, right, bottom], x, y) {
  return [Math.trunc(left * x), Math.trunc(top * y), Math.ceil(right * x), Math.ceil(bottom * y)];
}
