// The drawing pad: strokes by mouse, finger, pen or keyboard, kept as lines so that they can be
// taken back, redrawn in other colors, and rendered for the network at any size.

const PEN = 0.075; // the pen's width as a part of the pad's height
const STEP = 1 / 20; // of the pad's height, by one press of an arrow; a third of it with Shift
const KEYS = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
  Home: [-1, -1], PageUp: [1, -1], End: [-1, 1], PageDown: [1, 1],
};

export class Pad {
  // `changed` is called after every change, with whether a stroke is still being drawn; `said`
  // with what a screen reader should hear.
  constructor(canvas, changed, said) {
    this.canvas = canvas;
    this.changed = changed;
    this.said = said;
    this.strokes = []; // each a list of [x, y], y from 0 to 1 and x to the pad's aspect ratio
    this.picture = null; // { image, boxes } shown in place of a drawing
    this.pens = new Map(); // pointer → the stroke it draws
    this.cursor = null; // where the keyboard's pen is, once a key was pressed
    this.down = null; // the stroke the keyboard's pen draws
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
    this.pens.clear();
    this.down = null;
    this.picture = null;
    this.#show(false);
  }

  undo() {
    this.strokes.pop();
    this.pens.clear();
    this.down = null;
    this.#show(false);
  }

  // Show a picture, a canvas, and boxes on it: { box: [left, top, right, bottom], text }.
  showPicture(image, boxes = []) {
    this.strokes = [];
    this.picture = { image, boxes };
    this.draw();
  }

  // One digit for the network: dark on white, as large as it goes, its strokes as wide as those of
  // the digits it was trained on, whatever size it was drawn at.
  digit() {
    const side = 256, room = 200, width = 0.125 * room;
    const [left, top, right, bottom] = this.#bounds();
    const scale = room / Math.max(right - left, bottom - top, 0.04);
    const x = (side - (left + right) * scale) / 2, y = (side - (top + bottom) * scale) / 2;
    return render(this.strokes, side, side, [scale, x, y], width);
  }

  // The whole pad, dark on white, for reading several digits.
  page() {
    const height = 320;
    return render(this.strokes, Math.round(height * this.aspect), height, [height, 0, 0], PEN * height * 0.8);
  }

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
    trace(context, this.strokes, [height, 0, 0], PEN * height);
    if (this.cursor) {
      const [x, y] = this.cursor;
      context.beginPath();
      context.arc(x * height, y * height, PEN * height * 0.7, 0, 2 * Math.PI);
      context.lineWidth = 2.5 * ratio;
      context.strokeStyle = style.getPropertyValue("--accent");
      context.setLineDash(this.down ? [] : [5 * ratio, 4 * ratio]);
      context.stroke();
      context.setLineDash([]);
    }
  }

  #drawPicture(context, style) {
    const { image, boxes } = this.picture;
    const { width, height } = this.canvas;
    const scale = Math.min(width / image.width, height / image.height);
    const x = (width - image.width * scale) / 2, y = (height - image.height * scale) / 2;
    context.fillStyle = "#8f8f8f"; // under what is transparent: light and dark ink show on it
    context.fillRect(x, y, image.width * scale, image.height * scale);
    context.drawImage(image, x, y, image.width * scale, image.height * scale);
    const line = Math.max(2, height / 160);
    const size = Math.max(14 * (window.devicePixelRatio || 1), height / 24);
    context.lineWidth = line;
    context.font = `700 ${size}px system-ui, sans-serif`;
    for (const { box: [left, top, right, bottom], text } of boxes) {
      const at = [x + left * scale, y + top * scale];
      context.strokeStyle = style.getPropertyValue("--accent");
      context.strokeRect(at[0] - line, at[1] - line, (right - left) * scale + 2 * line, (bottom - top) * scale + 2 * line);
      if (!text) continue;
      const wide = context.measureText(text).width + 0.6 * size;
      const above = at[1] > 1.5 * size ? at[1] - 1.3 * size - line : y + bottom * scale + line;
      context.fillStyle = style.getPropertyValue("--accent");
      context.fillRect(at[0] - 1.5 * line, above, wide, 1.3 * size);
      context.fillStyle = style.getPropertyValue("--on-accent");
      context.fillText(text, at[0] - 1.5 * line + 0.3 * size, above + size);
    }
  }

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

  #show(drawing) {
    this.draw();
    this.changed(drawing);
  }

  #place(event) {
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
    this.canvas.classList.add("pointed"); // and no ring around it, which is for the keyboard
    this.canvas.focus({ preventScroll: true });
    this.cursor = null;
    this.canvas.setPointerCapture(event.pointerId);
    this.pens.set(event.pointerId, this.#begin(this.#place(event)));
    this.#show(true);
  }

  #move(event) {
    const stroke = this.pens.get(event.pointerId);
    if (!stroke) return;
    // A pen reports more often than the screen is drawn.
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) stroke.push(this.#place(each));
    this.#show(true);
  }

  #lift(event) {
    if (this.pens.delete(event.pointerId)) this.#show(this.pens.size > 0);
  }

  #key(event) {
    if (event.altKey || event.metaKey) return;
    this.canvas.classList.remove("pointed");
    if (event.key === "z" || event.key === "Backspace") this.undo();
    else if (event.ctrlKey) return;
    else if (event.key === "Escape" || event.key === "Delete") this.clear();
    else if (event.key === " " || event.key === "Enter") this.#toggle();
    else if (KEYS[event.key]) this.#step(KEYS[event.key], event.shiftKey ? STEP / 3 : STEP);
    else return;
    event.preventDefault();
  }

  #toggle() {
    this.cursor ??= [this.aspect / 2, 0.5];
    this.down = this.down ? null : this.#begin([...this.cursor]);
    this.said(this.down ? "Pen down" : "Pen up");
    this.#show(this.down !== null);
  }

  #step([right, down], step) {
    const [x, y] = this.cursor ?? [this.aspect / 2, 0.5];
    this.cursor = [
      Math.min(Math.max(x + right * step, 0), this.aspect), Math.min(Math.max(y + down * step, 0), 1),
    ];
    this.down?.push([...this.cursor]);
    if (this.down) this.#show(true);
    else this.draw();
  }

  #leave() {
    const drawing = this.down !== null;
    this.cursor = this.down = null;
    this.canvas.classList.remove("pointed");
    if (drawing) this.#show(false);
    else this.draw();
  }
}

// Strokes, dark on white, on a canvas of their own; [scale, x, y] places the pad's coordinates.
export function render(strokes, width, height, place, penWidth) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.strokeStyle = context.fillStyle = "#000";
  trace(context, strokes, place, penWidth);
  return canvas;
}

function trace(context, strokes, [scale, x, y], penWidth) {
  context.lineWidth = penWidth;
  context.lineCap = context.lineJoin = "round";
  for (const stroke of strokes) {
    const points = stroke.map((point) => [point[0] * scale + x, point[1] * scale + y]);
    context.beginPath();
    context.moveTo(...points[0]);
    // Through the middles of the lines between the points, so that corners become curves.
    for (let i = 1; i < points.length - 1; i++) {
      const [a, b] = [points[i], points[i + 1]];
      context.quadraticCurveTo(...a, (a[0] + b[0]) / 2, (a[1] + b[1]) / 2);
    }
    context.lineTo(...points.at(-1));
    context.stroke();
  }
}
