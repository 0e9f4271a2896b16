// The drawing pad: records strokes of mouse, finger, pen or keyboard.
//
// Strokes are kept as polylines, so that they can be undone, redrawn in another color scheme, and
// rendered for the network at any size. The pad also shows a picture with boxes around its digits.

import { text } from "./texts.js";

const PEN_WIDTH_SHARE = 0.075; // of the pad's height
const KEY_STEP_SHARE = 1 / 20; // of the pad's height, per press of an arrow key
const SMALL_STEP_SHARE = KEY_STEP_SHARE / 3; // the same with Shift
const DIGIT_SIDE_PX = 256; // side of the canvas that is rendered for one digit
const DIGIT_BOX_PX = 200; // the digit's longer side on that canvas
const DIGIT_PEN_PX = 0.125 * DIGIT_BOX_PX; // the pen on that canvas, as wide as in the training data
const MIN_EXTENT_SHARE = 0.04; // of the pad's height; a smaller drawing (a dot) is not enlarged to fit
const PAGE_HEIGHT_PX = 320; // height of the canvas that is rendered for a number
const PAGE_PEN_PX = 0.8 * PEN_WIDTH_SHARE * PAGE_HEIGHT_PX; // the pen on that canvas
// Direction of each key, right and down.
const KEY_DIRECTIONS = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
  Home: [-1, -1], PageUp: [1, -1], End: [-1, 1], PageDown: [1, 1],
};

export class Pad {
  // `onChange(drawing)` is called after every change, with true while a stroke is being drawn;
  // `announce(text)` with texts for a screen reader.
  constructor(canvas, onChange, announce) {
    this.canvas = canvas;
    this.onChange = onChange;
    this.announce = announce;
    this.strokes = []; // each a list of [x, y]: y from 0 to 1, x from 0 to the aspect ratio
    this.picture = null; // { image, boxes } shown instead of a drawing
    this.pointers = new Map(); // pointer id → the stroke that it draws
    this.cursor = null; // position of the keyboard's pen; null until a key is pressed
    this.keyStroke = null; // the stroke that the keyboard draws; null while its pen is up
    canvas.addEventListener("pointerdown", (event) => this.#press(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, (event) => this.#lift(event));
    }
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("blur", () => this.#leave());
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  get empty() {
    return this.strokes.length === 0;
  }

  get aspect() {
    return this.canvas.clientWidth / this.canvas.clientHeight || 1;
  }

  clear() {
    this.strokes = [];
    this.pointers.clear();
    this.keyStroke = null;
    this.picture = null;
    this.#show(false);
  }

  undo() {
    this.strokes.pop();
    this.pointers.clear();
    this.keyStroke = null;
    this.#show(false);
  }

  // Show a picture (a canvas) with boxes: { box: [left, top, right, bottom], text }.
  showPicture(image, boxes = []) {
    this.strokes = [];
    this.picture = { image, boxes };
    this.draw();
  }

  // Render one digit, dark on white, for the network: centered, at a fixed size and pen width, so
  // that the size of the drawing does not matter.
  digit() {
    const [left, top, right, bottom] = this.#bounds();
    const scale = DIGIT_BOX_PX / Math.max(right - left, bottom - top, MIN_EXTENT_SHARE);
    const x = (DIGIT_SIDE_PX - (left + right) * scale) / 2;
    const y = (DIGIT_SIDE_PX - (top + bottom) * scale) / 2;
    return render(this.strokes, DIGIT_SIDE_PX, DIGIT_SIDE_PX, [scale, x, y], DIGIT_PEN_PX);
  }

  // Render the whole pad, dark on white, for a number of several digits.
  page() {
    const width = Math.round(PAGE_HEIGHT_PX * this.aspect);
    return render(this.strokes, width, PAGE_HEIGHT_PX, [PAGE_HEIGHT_PX, 0, 0], PAGE_PEN_PX);
  }

  // Redraw the pad on the screen.
  draw() {
    const { canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    const style = getComputedStyle(canvas);
    context.clearRect(0, 0, width, height);
    if (this.picture) this.#drawPicture(context, style);
    context.strokeStyle = context.fillStyle = style.getPropertyValue("--ink");
    trace(context, this.strokes, [height, 0, 0], PEN_WIDTH_SHARE * height);
    if (this.cursor) {
      const [x, y] = this.cursor;
      context.beginPath();
      context.arc(x * height, y * height, 0.7 * PEN_WIDTH_SHARE * height, 0, 2 * Math.PI);
      context.lineWidth = 2.5 * ratio;
      context.strokeStyle = style.getPropertyValue("--accent");
      context.setLineDash(this.keyStroke ? [] : [5 * ratio, 4 * ratio]);
      context.stroke();
      context.setLineDash([]);
    }
  }

  #drawPicture(context, style) {
    const { image, boxes } = this.picture;
    const { width, height } = this.canvas;
    const scale = Math.min(width / image.width, height / image.height);
    const x = (width - image.width * scale) / 2, y = (height - image.height * scale) / 2;
    context.fillStyle = "#8f8f8f"; // behind transparent pixels; light and dark ink are visible on it
    context.fillRect(x, y, image.width * scale, image.height * scale);
    context.drawImage(image, x, y, image.width * scale, image.height * scale);
    const line = Math.max(2, height / 160);
    const size = Math.max(14 * (window.devicePixelRatio || 1), height / 24);
    context.lineWidth = line;
    context.font = `700 ${size}px system-ui, sans-serif`;
    for (const { box: [left, top, right, bottom], text: label } of boxes) {
      const boxX = x + left * scale, boxY = y + top * scale;
      context.strokeStyle = style.getPropertyValue("--accent");
      context.strokeRect(boxX - line, boxY - line, (right - left) * scale + 2 * line, (bottom - top) * scale + 2 * line);
      if (!label) continue;
      const labelWidth = context.measureText(label).width + 0.6 * size;
      // The label goes above the box, or below it if there is no space above.
      const labelY = boxY > 1.5 * size ? boxY - 1.3 * size - line : y + bottom * scale + line;
      context.fillStyle = style.getPropertyValue("--accent");
      context.fillRect(boxX - 1.5 * line, labelY, labelWidth, 1.3 * size);
      context.fillStyle = style.getPropertyValue("--on-accent");
      context.fillText(label, boxX - 1.5 * line + 0.3 * size, labelY + size);
    }
  }

  // The bounding box of all strokes: left, top, right, bottom.
  #bounds() {
    const bounds = [Infinity, Infinity, -Infinity, -Infinity];
    for (const [x, y] of this.strokes.flat()) {
      bounds[0] = Math.min(bounds[0], x);
      bounds[1] = Math.min(bounds[1], y);
      bounds[2] = Math.max(bounds[2], x);
      bounds[3] = Math.max(bounds[3], y);
    }
    return bounds;
  }

  // Redraw, and report a change of the drawing.
  #show(drawing) {
    this.draw();
    this.onChange(drawing);
  }

  // The position of a pointer in the pad's coordinates.
  #position(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.height, (event.clientY - box.top) / box.height];
  }

  #begin(point) {
    this.picture = null;
    const stroke = [point];
    this.strokes.push(stroke);
    return stroke;
  }

  #press(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.canvas.classList.add("pointed"); // hides the focus ring, which is for the keyboard
    this.canvas.focus({ preventScroll: true });
    this.cursor = null;
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.#begin(this.#position(event)));
    this.#show(true);
  }

  #move(event) {
    const stroke = this.pointers.get(event.pointerId);
    if (!stroke) return;
    // A pen reports more positions than there are events.
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) stroke.push(this.#position(each));
    this.#show(true);
  }

  #lift(event) {
    if (this.pointers.delete(event.pointerId)) this.#show(this.pointers.size > 0);
  }

  #key(event) {
    if (event.altKey || event.metaKey) return;
    this.canvas.classList.remove("pointed");
    if (event.key === "z" || event.key === "Backspace") this.undo();
    else if (event.ctrlKey) return;
    else if (event.key === "Escape" || event.key === "Delete") this.clear();
    else if (event.key === " " || event.key === "Enter") this.#toggle();
    else if (KEY_DIRECTIONS[event.key]) {
      this.#step(KEY_DIRECTIONS[event.key], event.shiftKey ? SMALL_STEP_SHARE : KEY_STEP_SHARE);
    } else return;
    event.preventDefault();
  }

  // Put the keyboard's pen down, or lift it.
  #toggle() {
    this.cursor ??= [this.aspect / 2, 0.5];
    this.keyStroke = this.keyStroke ? null : this.#begin([...this.cursor]);
    this.announce(text(this.keyStroke ? "pen.down" : "pen.up"));
    this.#show(this.keyStroke !== null);
  }

  #step([right, down], step) {
    const [x, y] = this.cursor ?? [this.aspect / 2, 0.5];
    this.cursor = [
      Math.min(Math.max(x + right * step, 0), this.aspect), Math.min(Math.max(y + down * step, 0), 1),
    ];
    this.keyStroke?.push([...this.cursor]);
    if (this.keyStroke) this.#show(true);
    else this.draw();
  }

  // End the keyboard's drawing when the pad loses the focus.
  #leave() {
    const drawing = this.keyStroke !== null;
    this.cursor = this.keyStroke = null;
    this.canvas.classList.remove("pointed");
    if (drawing) this.#show(false);
    else this.draw();
  }
}

// Render strokes, black on white, on a new canvas. `transform` is [scale, x, y]: a point of the pad is
// multiplied by `scale` and moved by x and y. `penWidth` is in pixels.
export function render(strokes, width, height, transform, penWidth) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.strokeStyle = context.fillStyle = "#000";
  trace(context, strokes, transform, penWidth);
  return canvas;
}

function trace(context, strokes, [scale, x, y], penWidth) {
  context.lineWidth = penWidth;
  context.lineCap = context.lineJoin = "round";
  for (const stroke of strokes) {
    const points = stroke.map((point) => [point[0] * scale + x, point[1] * scale + y]);
    context.beginPath();
    context.moveTo(...points[0]);
    // Smooth the corners: a quadratic curve ends at the middle of each segment.
    for (let i = 1; i < points.length - 1; i++) {
      const [a, b] = [points[i], points[i + 1]];
      context.quadraticCurveTo(...a, (a[0] + b[0]) / 2, (a[1] + b[1]) / 2);
    }
    context.lineTo(...points.at(-1));
    context.stroke();
  }
}
