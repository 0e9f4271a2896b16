// The feature maps of the drawing page: draws one picture for each block of the network, and says in
// words what it shows, for screen readers and everybody else.

import { text } from "./texts.js";

const COLUMNS = 8; // maps in a row
const TILE_PX = 40; // side of a map on the canvas, about; each of its values is a square
const GAP_PX = 2; // between two maps
const ACTIVE_SHARE = 0.1; // of the block's peak; a filter with a larger value found something

// Show blocks in an element: { channels, height, width, maps }, maps being bytes (Uint8Array), map by map.
export function showBlocks(element, blocks) {
  while (element.children.length > blocks.length) element.lastChild.remove();
  while (element.children.length < blocks.length) element.append(newFigure(element.children.length));
  blocks.forEach((block, i) => {
    const [canvas, caption] = element.children[i].children;
    drawMaps(canvas, block);
    caption.firstChild.textContent = text("maps.block", { ...block, block: i + 1 });
    caption.lastChild.textContent = describe(block);
  });
}

function newFigure(number) {
  const [figure, canvas, caption] = ["figure", "canvas", "figcaption"].map((tag) => document.createElement(tag));
  caption.id = `block-${number}`;
  caption.append(document.createElement("strong"), document.createElement("span"));
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-labelledby", caption.id);
  figure.append(canvas, caption);
  return figure;
}

function drawMaps(canvas, { channels, height, width, maps }) {
  const rows = Math.ceil(channels / COLUMNS);
  const scale = Math.max(1, Math.round(TILE_PX / Math.max(width, height)));
  const [stepX, stepY] = [width * scale + GAP_PX, height * scale + GAP_PX];
  canvas.width = COLUMNS * stepX - GAP_PX;
  canvas.height = rows * stepY - GAP_PX;
  const context = canvas.getContext("2d");
  for (let i = 0; i < maps.length; i++) {
    const channel = Math.floor(i / (width * height)), position = i % (width * height);
    context.fillStyle = `rgb(${maps[i]} ${maps[i]} ${maps[i]})`;
    context.fillRect(
      (channel % COLUMNS) * stepX + (position % width) * scale,
      Math.floor(channel / COLUMNS) * stepY + Math.floor(position / width) * scale, scale, scale,
    );
  }
}

// Say how many filters found something, which one found most, and where.
function describe({ channels, height, width, maps }) {
  const size = height * width;
  let active = 0, most = 0, strongest = 0;
  for (let channel = 0; channel < channels; channel++) {
    const map = maps.subarray(channel * size, (channel + 1) * size);
    const sum = map.reduce((total, value) => total + value, 0);
    active += map.some((value) => value > 255 * ACTIVE_SHARE);
    if (sum > most) [most, strongest] = [sum, channel];
  }
  if (!active) return text("maps.dark");
  const map = maps.subarray(strongest * size, (strongest + 1) * size);
  const peak = map.indexOf(map.reduce((largest, value) => Math.max(largest, value)));
  const third = (position, side) => Math.floor((3 * (position + 0.5)) / side);
  const place = text(`place.${third(Math.floor(peak / width), height)}${third(peak % width, width)}`);
  return text("maps.found", { active, strongest: strongest + 1, place });
}
