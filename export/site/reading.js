// Reads numbers of several digits: which ink is a digit is left to the classifier's
// confidence. Mirrors runtime/reading.py, where the constants are explained.

import { cut, join } from "./cuts.js";
import { Picture } from "./decode.js";
import { above, isSolid, thicken } from "./ink.js";
import { findLines } from "./layout.js";
import { scaled } from "./photo.js";
import { roundHalfEven } from "./pillow.js";
import { centred } from "./preprocess.js";

const LONGEST = 1024, SMALLEST = 24, ENLARGED = 40, LARGEST = 4096;
const NARROW = 0.7, SURE = 0.95, GAP = 0.25;
const REFUSED = 0.2, CUT = 0.12, INK = 1, JOIN = 0.07;
const BROADER = 0.85, BROAD_FROM = 0.85, LOWER = 0.45, LOW_FROM = 1.05;
const LOW = 0.4, BROAD = 1.7;

// { lines: texts, digits: [{ label, confidence, accepted, box }] }. `predict` answers a list of
// pixels with a list of { label, confidence, accepted }, or a promise of one. With `digitsOnly` ink is
// rejected if its size or stroke is not that of a digit.
export async function read(canvas, predict, digitsOnly) {
  const { width, height } = canvas;
  const { grey, layout } = look(new Picture(canvas));
  const lines = [], digits = [];
  for (const blobs of layout?.lines ?? []) {
    const found = await readLine(blobs, layout.height, predict, digitsOnly);
    const text = found.map(([, { label, accepted }]) => (accepted ? label : "")).join("");
    for (const [{ box }, prediction] of found) {
      digits.push({ ...prediction, box: scaled(box, width / grey.width, height / grey.height) });
    }
    if (text) lines.push(text);
  }
  return { lines, digits };
}

function look(picture) {
  const most = Math.max(picture.width, picture.height);
  let colour = false, grey = picture.grey(LONGEST), layout = findLines(grey);
  if (layout === null && picture.coloured) {
    colour = true;
    grey = picture.grey(LONGEST, colour);
    layout = findLines(grey);
  }
  if (layout !== null && layout.height < SMALLEST && most > LONGEST) {
    const enlarged = roundHalfEven((Math.max(grey.width, grey.height) * ENLARGED) / layout.height);
    const closer = picture.grey(Math.min(enlarged, most, LARGEST), colour);
    const nearer = findLines(closer);
    if (nearer !== null) return { grey: closer, layout: nearer };
  }
  return { grey, layout };
}

// The cheapest way to part a line's ink into digits: dynamic programming over its pieces.
async function readLine(blobs, height, predict, digitsOnly) {
  const whole = await predict(blobs.map(pixelsOf));
  const pieces = [];
  blobs.forEach((blob, number) => {
    const wide = blob.box[2] - blob.box[0] > NARROW * height;
    const doubtful = whole[number].confidence < SURE || !whole[number].accepted;
    const near = number > 0 && blob.box[0] - blobs[number - 1].box[2] < GAP * height;
    const parts = wide || doubtful ? cut(blob, height) : [[blob, 0]];
    parts.forEach(([piece, ink], part) => {
      pieces.push({ blob: piece, cut: part > 0, cost: part ? CUT + INK * ink : 0, joinable: part > 0 || near });
    });
  });
  const spans = spansOf(pieces, height);
  const joined = spans.map(([first, last]) => join(pieces.slice(first, last).map(({ blob }) => blob)));
  const predictions = (await predict(joined.map(pixelsOf))).map((prediction, i) =>
    ({ ...prediction, accepted: prediction.accepted && (!digitsOnly || isDigit(joined[i], height)) }));
  const best = [[0, []]];
  for (let end = 1; end <= pieces.length; end++) {
    let least = Infinity, cheapest = null;
    spans.forEach(([first, last], i) => {
      if (last !== end) return;
      const cost = best[first][0] + costOf(joined[i], height, predictions[i], pieces.slice(first, last));
      if (cost < least) [least, cheapest] = [cost, [...best[first][1], [joined[i], predictions[i]]]];
    });
    best.push([least, cheapest]);
  }
  return best.at(-1)[1];
}

// First and last (exclusive) of the pieces that may be one digit together.
function spansOf(pieces, height) {
  const spans = [];
  pieces.forEach(({ blob }, first) => {
    let [left, , right] = blob.box;
    spans.push([first, first + 1]);
    for (let last = first + 1; last < pieces.length; last++) {
      const { box } = pieces[last].blob;
      [left, right] = [Math.min(left, box[0]), Math.max(right, box[2])];
      if (!pieces[last].joinable || right - left > BROAD * height) break;
      spans.push([first, last + 1]);
    }
  });
  return spans;
}

// Whether size and stroke are those of a digit.
function isDigit({ ink, box: [left, top, right, bottom] }, height) {
  return bottom - top > LOW * height && right - left < BROAD * height && !isSolid(above(ink, 0.5));
}

function costOf({ box: [left, top, right, bottom] }, height, { confidence, accepted }, pieces) {
  const high = (bottom - top) / height;
  const aspect = (right - left) / height / Math.max(high, 0.6);
  return -Math.log(Math.max(confidence, 1e-6))
    + REFUSED * !accepted
    + pieces[0].cost
    + JOIN * pieces.slice(1).filter((piece) => !piece.cut).length
    + BROADER * Math.max(0, aspect - BROAD_FROM)
    + LOWER * Math.max(0, LOW_FROM - high);
}

function pixelsOf({ ink }) {
  return centred(thicken(ink));
}
