// The drawing page: connects the drawing pad, the picture controls, the engine and the result cards.
//
// Each change of the drawing becomes a request to the engine (engine.js: the server, or the model in
// the browser), and its answer is shown. The static site of export.web uses this file too, without
// the controls for pictures.

import { EngineError, open } from "./engine.js";
import { Pad } from "./pad.js";

const $ = (id) => document.getElementById(id);
const ANNOUNCE_DELAY_MS = 600; // a screen reader hears an answer that does not change for this long
const MAX_LIST_LABELS = 12; // more labels get two columns, and are cut off in the hint
const PIXELS_SIDE = 28; // of the model's input
const MAX_ANSWER_REM = 9; // font size of the answer; long or multi-line answers are smaller

let engine = null;
let pending = null; // the newest request; it replaces older ones that were not sent
let busy = false; // whether a request is being processed
let announcement = 0; // timer of the next announcement
let isDigits = true; // whether the classes are 0 to 9
let pictures = null; // stops the camera; null on the static site, which reads drawings only

const pad = new Pad($("pad"), onDrawing, announce);
const mode = () => document.querySelector("[name=mode]:checked")?.value ?? "digit";
const rejected = () => (isDigits ? "Not a digit I know" : "None of these");

$("clear").addEventListener("click", () => {
  pictures?.stop();
  pad.clear();
  pad.canvas.focus();
});
$("undo").addEventListener("click", () => pad.undo());
for (const input of document.querySelectorAll("[name=mode]")) {
  input.addEventListener("change", onMode);
}
addEventListener("keydown", (event) => {
  // Escape clears everywhere, except in the dialog and on the pad, which handle it themselves.
  if (event.key === "Escape" && !$("ask-token")?.open && event.target !== pad.canvas) $("clear").click();
});

start();

async function start() {
  onMode();
  if ($("choose")) {
    const { takePictures } = await import("./picture.js");
    pictures = takePictures(
      { body: document.body, choose: $("choose"), camera: $("camera"), take: $("take"),
        file: $("file"), snap: $("snap"), live: $("live") },
      onPicture, showProblem,
    );
  }
  try {
    engine = await open(askToken);
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    return showProblem(error.message);
  }
  const { labels } = engine.model;
  isDigits = labels.length === 10 && labels.every((label, i) => label === String(i));
  if (!isDigits) showOwnClasses();
  const isLong = labels.length > MAX_LIST_LABELS;
  $("hint").textContent = isDigits
    ? "Draw a digit, 0 to 9" : `Draw ${labels.slice(0, MAX_LIST_LABELS).join(", ")}${isLong ? ", …" : ""}`;
  $("scores").replaceChildren(...labels.map(scoreRow));
  $("scores").classList.toggle("many", isLong);
  $("scores").classList.toggle("own", !isDigits && !isLong);
  showFacts();
  document.body.dataset.ready = "true";
  if (!pad.empty) onDrawing(false);
}

// Replace texts that mention digits, for a model with other classes.
function showOwnClasses() {
  document.title = "digit-edge: draw";
  $("tagline").textContent = "A small network reads what you draw.";
  document.querySelectorAll("#modes span").forEach((span, i) => { span.textContent = ["One", "Several"][i]; });
}

function onMode() {
  document.querySelector("main").classList.toggle("wide", mode() === "number");
  $("confidence").hidden = $("seen").hidden = mode() === "number";
  if (pad.picture) onPicture(pad.picture.image);
  else if (mode() === "digit") onDrawing(false);
  else requestAnimationFrame(() => onDrawing(false)); // after the pad got its new width
}

// `drawing`: whether a stroke is still being drawn.
function onDrawing(drawing) {
  $("hint").hidden = !pad.empty || pad.picture !== null;
  $("undo").disabled = pad.empty;
  if (pad.picture) return;
  if (pad.empty) return showNothing();
  if (mode() === "digit") request(pad.digit(), true, drawing);
  else request(pad.page(), true, drawing);
}

function onPicture(image) {
  $("hint").hidden = true;
  $("undo").disabled = true;
  pad.showPicture(image);
  showNothing("Reading…");
  request(image, false, false);
}

// Ask the engine to read a canvas. `isDrawing`: it comes from the pad; `unfinished`: a stroke is
// still being drawn, so the answer is not announced.
function request(canvas, isDrawing, unfinished) {
  pending = { canvas, isDrawing, unfinished, read: mode() === "number" };
  if (engine && !busy) processPending();
}

async function processPending() {
  busy = true;
  while (pending) {
    const current = pending;
    pending = null;
    try {
      const { canvas, isDrawing, read } = current;
      const answer = await (read ? engine.read : engine.classify)(canvas, isDrawing);
      // Drop the answer if the pad was cleared or the mode switched in the meantime.
      if (isDrawing ? pad.empty : pad.picture?.image !== canvas) continue;
      if (read !== (mode() === "number")) continue;
      showProblem("");
      (read ? showReading : showAnswer)(answer, current);
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      showNothing();
      showProblem(error.message);
    } finally {
      busy = pending !== null;
    }
  }
}

// Show the answer to a request for one digit.
function showAnswer(answer, { canvas, isDrawing, unfinished }) {
  const { label, confidence, accepted, scores, pixels, box } = answer;
  if (answer.method === "blank" || answer.view?.method === "blank") {
    showNothing();
    if (!isDrawing) showProblem("This picture looks blank.");
    return;
  }
  showText(accepted ? label : "?", accepted);
  showSure(accepted ? percent(confidence) : rejected(), accepted ? "sure" : `best guess: ${label}, ${percent(confidence)}`);
  drawPixels(pixels);
  scores.forEach(({ score }, i) => showScore($("scores").children[i], score, score === confidence));
  showFacts(answer);
  if (!isDrawing) pad.showPicture(canvas, [{ box, text: accepted ? label : "?" }]);
  announceLater(accepted ? `${label}, ${percent(confidence)} sure` : rejected(), unfinished);
}

// Show the answer to a request for a number.
function showReading(answer, { canvas, isDrawing, unfinished }) {
  const { text, digits } = answer;
  showText(text || "?", text !== "");
  $("result").classList.toggle("free", text.includes("\n"));
  const confidences = digits.filter((digit) => digit.accepted).map((digit) => digit.confidence);
  const nothing = isDigits ? "No digits found" : "Nothing found";
  const count = `${confidences.length}${isDigits ? " digits" : ""}`;
  if (text === "") showSure(nothing, "");
  else if (confidences.length === 1) showSure(percent(confidences[0]), "sure");
  else showSure(`≥ ${percent(Math.min(...confidences))}`, `sure of each of ${count}`);
  showFacts(answer);
  if (!isDrawing) {
    pad.showPicture(canvas, digits.map(({ box, label, accepted }) => ({ box, text: accepted ? label : "?" })));
  }
  announceLater(text || nothing, unfinished);
}

function showNothing(message = pad.picture ? "" : "Nothing drawn yet") {
  showText("–", true);
  $("answer").classList.add("waiting");
  showSure("", message);
  drawPixels(new Uint8Array(PIXELS_SIDE * PIXELS_SIDE));
  for (const row of $("scores").children) showScore(row, 0, false);
  showProblem("");
  clearTimeout(announcement);
  $("spoken").textContent = "";
}

function showText(text, accepted) {
  $("result").classList.remove("free");
  const lines = text.split("\n");
  const longest = Math.max(...lines.map((line) => line.length));
  $("answer").textContent = text;
  $("answer").className = accepted ? "" : "rejected";
  const size = Math.min(MAX_ANSWER_REM, 20 / longest, 16 / lines.length);
  $("answer").style.setProperty("--answer-size", `${size}rem`);
}

// Show a confidence in large type and its explanation below.
function showSure(large, small) {
  const strong = document.createElement("strong");
  strong.textContent = large;
  $("sure").replaceChildren(...(large ? [strong] : []), small);
}

function scoreRow(label) {
  const row = document.createElement("li");
  const [name, bar, value] = ["b", "i", "span"].map((tag) => document.createElement(tag));
  name.textContent = label;
  bar.setAttribute("aria-hidden", "true");
  row.append(name, bar, value);
  showScore(row, 0, false);
  return row;
}

function showScore(row, score, best) {
  row.style.setProperty("--share", score);
  row.classList.toggle("best", best);
  row.lastChild.textContent = percent(score);
}

// Show the model's input, gray values row by row.
function drawPixels(values) {
  const context = $("pixels").getContext("2d");
  const image = context.createImageData(PIXELS_SIDE, PIXELS_SIDE);
  values.forEach((value, i) => image.data.set([value, value, value, 255], 4 * i));
  context.putImageData(image, 0, 0);
}

function showFacts(answer) {
  const { model } = engine;
  const current = answer?.model ?? model; // the server may have reloaded a replaced model
  const facts = [
    ["Artifact", `${current.name}, ${current.precision}, ${current.digest.slice(0, 8)}…`],
    ["Engine", `${current.backend} ${current.backend_version}`],
  ];
  if (model.test_accuracy !== null && current.digest === model.digest) {
    facts.push(["Accuracy", `${(100 * model.test_accuracy).toFixed(2)} % of ${model.n_test.toLocaleString("en")} test images`]);
  }
  if (answer?.inference_ms !== undefined) {
    facts.push(["Network", milliseconds(answer.inference_ms)], ["Preprocessing", milliseconds(answer.preprocess_ms)]);
  }
  if (answer) facts.push([model.server === false ? "Total" : "Round trip", milliseconds(answer.total_ms)]);
  $("facts").replaceChildren(...facts.map(([term, text]) => {
    const [pair, dt, dd] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
    [dt.textContent, dd.textContent] = [term, text];
    pair.append(dt, dd);
    return pair;
  }));
}

function showProblem(text) {
  if ($("problem").textContent !== text) $("problem").textContent = text;
}

// Have a screen reader speak a text.
function announce(text) {
  $("spoken").textContent = text;
}

function announceLater(text, unfinished) {
  clearTimeout(announcement);
  if (!unfinished) announcement = setTimeout(announce, ANNOUNCE_DELAY_MS, text);
}

// Show the token dialog; return a promise of the token. `wrong`: the previous one was rejected.
function askToken(wrong) {
  const dialog = $("ask-token");
  if (wrong) $("token-text").textContent = "That token is not right. Please try again.";
  $("token").value = "";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done($("token").value), { once: true });
  });
}

function percent(share) {
  const value = 100 * share;
  return `${value > 99.9 && value < 100 ? "99.9" : value.toFixed(value < 10 || value >= 99 ? 1 : 0)} %`;
}

function milliseconds(value) {
  return `${value < 10 ? value.toFixed(2) : value.toFixed(0)} ms`;
}
