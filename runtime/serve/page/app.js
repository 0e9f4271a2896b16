// The drawing page: connects the drawing pad, the picture controls, the engine and the result cards.
//
// Each change of the drawing becomes a request to the engine (engine.js: the server, or the model in
// the browser), and its answer is shown. The static site of export.web uses this file too, without
// the controls for numbers.

import { EngineError, open } from "./engine.js";
import { showBlocks } from "./maps.js";
import { Pad } from "./pad.js";
import { number, setOwnClasses, text } from "./texts.js";

const $ = (id) => document.getElementById(id);
const ANNOUNCE_DELAY_MS = 600; // a screen reader hears an answer that does not change for this long
const MAX_LIST_LABELS = 12; // of more labels, the hint and the scores show this many
const MNIST_SHAPE = [28, 28, 1]; // height, width and channels of the input of a model of digits
const MAX_ANSWER_REM = 9; // font size of the answer; long or multi-line answers are smaller

let engine = null;
let pending = null; // the newest request; it replaces older ones that were not sent
let busy = false; // whether a request is being processed
let answered = null; // the canvas whose answer is shown, and whether it is a drawing
let announcement = 0; // timer of the next announcement
let pictures = null; // the camera and its controls; null until the page has loaded them

const pad = new Pad($("pad"), onDrawing, announce);
const mode = () => document.querySelector("[name=mode]:checked")?.value ?? "digit";

$("clear").addEventListener("click", () => {
  pictures?.stop();
  pad.clear();
  pad.canvas.focus();
});
$("undo").addEventListener("click", () => pad.undo());
$("retry").addEventListener("click", () => (engine ? requestAgain() : openEngine()));
$("switch")?.addEventListener("click", () => {
  selectNumbers();
  pad.canvas.focus();
});
$("keep")?.addEventListener("submit", (event) => {
  event.preventDefault();
  keep();
});
$("true-label")?.addEventListener("change", () => {
  $("keep-button").disabled = false;
  $("kept").textContent = text("keep.help", { folder: engine.model.collects_in });
});
$("maps").addEventListener("toggle", () => {
  if ($("maps").open) requestAgain();
});
for (const input of document.querySelectorAll("[name=mode]")) {
  input.addEventListener("change", onMode);
}
addEventListener("keydown", (event) => {
  // Escape clears everywhere, except in the dialog and on the pad, which handle it themselves.
  if (event.key === "Escape" && !$("ask-token")?.open && event.target !== pad.canvas) $("clear").click();
});

onMode();
const controls = loadControls();
openEngine();

async function loadControls() {
  if (!$("choose")) return;
  const { takePictures } = await import("./picture.js");
  pictures = takePictures(
    { body: document.body, choose: $("choose"), camera: $("camera"), take: $("take"),
      file: $("file"), snap: $("snap"), live: $("live") },
    { use: onPicture, fail: onFailedPicture, change: onCamera },
  );
}

async function openEngine() {
  showProblem("");
  try {
    engine = await open(askToken);
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    return showProblem(error.message, error.retry);
  }
  showModel();
  if (engine.model.reads_numbers) selectNumbers();
  await controls;
  document.body.dataset.ready = "true";
  requestAgain();
}

// Adapt the page to the classes of the engine's model.
function showModel() {
  const { labels } = engine.model;
  const isDigits = labels.length === 10 && labels.every((label, i) => label === String(i));
  setOwnClasses(!isDigits);
  $("scores").replaceChildren(...labels.slice(0, MAX_LIST_LABELS).map(scoreRow));
  $("scores").classList.toggle("own", !isDigits);
  const isLong = labels.length > MAX_LIST_LABELS;
  const counts = { shown: MAX_LIST_LABELS, all: labels.length };
  $("scores-title").textContent = text(isLong ? "confidence.highest" : "confidence", counts);
  showInput();
  showCollection();
  showHint();
  showFacts();
}

// Adapt the page to the form of the model's input: its size, and whether it reads numbers.
function showInput() {
  const { form, input_shape: shape = MNIST_SHAPE } = engine.model;
  const [height, width] = shape;
  Object.assign($("pixels"), { height, width });
  $("pixels").setAttribute("aria-label", text("pixels.label", { height, width }));
  const readsNumbers = form !== "photo" && String(shape) === String(MNIST_SHAPE);
  if ($("modes")) $("modes").hidden = !readsNumbers;
  if (!readsNumbers && mode() === "number") {
    document.querySelector("[name=mode][value=digit]").checked = true;
    onMode();
  }
}

function showHint() {
  $("hint").hidden = !pad.empty || pad.picture !== null || Boolean(pictures?.live);
  if (!engine) return;
  const { labels } = engine.model;
  const listed = labels.slice(0, MAX_LIST_LABELS).join(", ") + (labels.length > MAX_LIST_LABELS ? ", …" : "");
  const drawn = mode() === "number" ? "hint.number" : "hint";
  $("hint").textContent = text(engine.model.form === "photo" ? "hint.photo" : drawn, { labels: listed });
}

function selectNumbers() {
  document.querySelector("[name=mode][value=number]").checked = true;
  onMode();
}

function onMode() {
  document.querySelector("main").classList.toggle("wide", mode() === "number");
  $("confidence").hidden = $("seen").hidden = $("maps").hidden = mode() === "number";
  if (mode() === "digit" || pad.picture) requestAgain();
  else requestAnimationFrame(requestAgain); // after the pad got its new width
}

// Request an answer to what the pad shows.
function requestAgain() {
  if (pad.picture) onPicture(pad.picture.image);
  else onDrawing(false);
}

// `drawing`: whether a stroke is still being drawn.
function onDrawing(drawing) {
  showHint();
  $("undo").disabled = pad.empty;
  if (pad.picture) return;
  if (pad.empty) showNothing();
  else request(mode() === "digit" ? pad.digit() : pad.page(), true, drawing);
}

function onPicture(image) {
  pad.showPicture(image);
  showHint();
  $("undo").disabled = true;
  showNothing(text("status.reading"));
  request(image, false, false);
}

// A picture that cannot be opened replaces what was there, so that no old answer stays beside it.
function onFailedPicture(message) {
  pictures.stop();
  pad.clear();
  showProblem(message);
}

// The live picture replaces the drawing and its answer, until a photo is taken.
function onCamera(live) {
  document.body.classList.toggle("live", live);
  if (live || pad.empty) pad.clear();
}

// Ask the engine to read a canvas. `isDrawing`: it comes from the pad; `unfinished`: a stroke is
// still being drawn, so the answer is not announced.
function request(canvas, isDrawing, unfinished) {
  pending = { canvas, isDrawing, unfinished, read: mode() === "number" };
  if (!engine) showSure("", text($("problem").textContent ? "status.none" : "status.reading"));
  else if (!busy) processPending();
}

async function processPending() {
  busy = true;
  try {
    while (pending) {
      const current = pending;
      pending = null;
      try {
        await answer(current);
      } catch (error) {
        if (!(error instanceof EngineError)) throw error;
        if (isOutdated(current)) continue;
        showNothing(text("status.none"));
        showProblem(error.message, error.retry);
      }
    }
  } finally {
    busy = false;
  }
}

async function answer(current) {
  const { canvas, isDrawing, unfinished, read } = current;
  const result = await (read ? engine.read : engine.classify)(canvas, isDrawing);
  if (isOutdated(current)) return;
  // The server may have reloaded a replaced model, with other classes.
  if (result.model && result.model.digest !== engine.model.digest) {
    engine.model = await engine.describe();
    showModel();
  }
  showProblem("");
  (read ? showReading : showAnswer)(result, current);
  if (read) return;
  if ($("maps").open) await showMaps(current);
  if (!unfinished && !pending) await suggestNumber(current);
}

// Whether the pad was cleared, or shows another picture, or the mode was switched since a request.
function isOutdated({ canvas, isDrawing, read }) {
  return (isDrawing ? pad.empty || pad.picture : pad.picture?.image !== canvas) || read !== (mode() === "number");
}

// Show the answer to a request for one digit.
function showAnswer(result, { canvas, isDrawing, unfinished }) {
  const { label, confidence, accepted, scores, pixels, box } = result;
  if (result.method === "blank" || result.view?.method === "blank") {
    showNothing("");
    if (!isDrawing) showProblem(text("problem.blank"));
    return;
  }
  showText(accepted ? label : "?", accepted);
  if (accepted) showSure(percent(confidence), text("sure"));
  else showSure(text("rejected"), text("rejected.guess", { label, percent: percent(confidence) }));
  drawPixels(pixels);
  showScores(scores, confidence);
  showFacts(result);
  if (!isDrawing) pad.showPicture(canvas, [{ box, text: accepted ? label : "?" }]);
  const spoken = accepted ? text("sure.spoken", { label, percent: percent(confidence) }) : text("rejected");
  announceLater(spoken, unfinished);
  // The answer to a finished drawing would replace a label chosen before it.
  if ($("keep")) offer(unfinished ? null : { canvas, isDrawing }, label);
}

// Show whether the server keeps pictures, and say what it stores and where.
function showCollection() {
  if (!$("keep")) return;
  const { labels, collects_in: folder } = engine.model;
  $("keep").hidden = !folder;
  $("true-label").replaceChildren(...labels.map((label) => new Option(label, label)));
  $("kept").textContent = text("keep.help", { folder });
}

// Offer to keep what was classified, with its true label; null offers nothing.
function offer(shown, label) {
  answered = shown;
  for (const control of [$("true-label"), $("keep-button")]) control.disabled = !shown;
  if (shown) $("true-label").value = label;
  if (engine) $("kept").textContent = text("keep.help", { folder: engine.model.collects_in });
}

// Have the server keep the picture on the pad with the chosen label.
async function keep() {
  const { canvas, isDrawing } = answered;
  const label = $("true-label").value;
  $("keep-button").disabled = true; // a second click would keep the same again
  try {
    const kept = await engine.keep(isDrawing ? pad.digit() : canvas, isDrawing, label);
    showProblem("");
    const { label: name, images: count } = kept;
    $("kept").textContent = text("kept", { label: name, folder: engine.model.collects_in, count });
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    $("keep-button").disabled = false;
    showProblem(error.message);
  }
}

// Show the answer to a request for a number.
function showReading(result, { canvas, isDrawing, unfinished }) {
  const { text: reading, digits } = result;
  const confidences = digits.filter((digit) => digit.accepted).map((digit) => digit.confidence);
  showText(reading || "?", confidences.length > 0);
  $("result").classList.toggle("free", reading.includes("\n"));
  const uncertain = reading.split("?").length - 1;
  const doubt = uncertain ? text("number.uncertain", { count: uncertain }) : "";
  let spoken = [reading, doubt].filter(Boolean).join(". ");
  if (confidences.length === 0) {
    spoken = digits.length ? text("number.marks", { count: digits.length }) : text("number.nothing");
    showSure(spoken, "");
  } else if (confidences.length === 1) {
    showSure(percent(confidences[0]), text("sure"), doubt);
  } else {
    showSure(`≥ ${percent(Math.min(...confidences))}`, text("sure.each", { count: confidences.length }), doubt);
  }
  showFacts(result);
  if (!isDrawing) {
    pad.showPicture(canvas, digits.map(({ box, label, accepted }) => ({ box, text: accepted ? label : "?" })));
  }
  announceLater(spoken, unfinished);
}

// Suggest the mode for numbers if what was classified as one digit contains several.
async function suggestNumber(current) {
  const { canvas, isDrawing } = current;
  if (!engine.read || $("modes").hidden || (isDrawing && pad.strokes.length < 2)) return;
  let result;
  try {
    result = await engine.read(isDrawing ? pad.page() : canvas, isDrawing);
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    return; // the answer to the request stays
  }
  if (pending || isOutdated(current) || result.digits.filter((digit) => digit.accepted).length < 2) return;
  $("suggested").textContent = text("number.suggest", { number: result.lines.join(", ") });
  $("suggestion").hidden = false;
  announceLater($("suggested").textContent, false);
}

async function showMaps(current) {
  try {
    const blocks = await engine.featureMaps(current.canvas, current.isDrawing);
    if (isOutdated(current)) return;
    showBlocks($("blocks"), blocks);
    $("maps-note").textContent = "";
  } catch (error) {
    if (!(error instanceof EngineError) || !error.unsupported) throw error;
    if (isOutdated(current)) return;
    showBlocks($("blocks"), []);
    $("maps-note").textContent = text("maps.missing");
  }
}

function showNothing(message) {
  const live = pictures?.live;
  showText("–", true);
  $("answer").classList.add("waiting");
  showSure("", message ?? text(live ? "status.camera" : "status.nothing"));
  drawPixels(new Uint8Array($("pixels").height * $("pixels").width));
  for (const row of $("scores").children) showScore(row, 0, false);
  if ($("keep")) offer(null);
  showBlocks($("blocks"), []);
  $("maps-note").textContent = text("maps.waiting");
  if (engine) showProblem(""); // otherwise it says why there is no engine
  clearTimeout(announcement);
  $("spoken").textContent = live ? text("status.camera") : "";
}

function showText(shown, accepted) {
  $("result").classList.remove("free");
  if ($("suggestion")) $("suggestion").hidden = true;
  const lines = shown.split("\n");
  const longest = Math.max(...lines.map((line) => line.length));
  $("answer").textContent = shown;
  $("answer").className = accepted ? "" : "rejected";
  const size = Math.min(MAX_ANSWER_REM, 20 / longest, 16 / lines.length);
  $("answer").style.setProperty("--answer-size", `${size}rem`);
}

// Show a confidence in large type and lines of explanation below.
function showSure(large, ...small) {
  const strong = document.createElement("strong");
  strong.textContent = large;
  $("sure").replaceChildren(...(large ? [strong] : []), small.filter(Boolean).join(". "));
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

// Show the score of each label; of many labels, the highest scores.
function showScores(scores, highest) {
  const rows = $("scores").children;
  const isShort = scores.length <= rows.length;
  const shown = isShort ? scores : scores.toSorted((a, b) => b.score - a.score).slice(0, rows.length);
  shown.forEach(({ label, score }, i) => {
    rows[i].firstChild.textContent = label;
    showScore(rows[i], score, score === highest);
  });
}

function showScore(row, score, best) {
  row.style.setProperty("--share", score);
  row.classList.toggle("best", best);
  row.lastChild.textContent = percent(score);
}

// Show the model's input row by row, gray values or red, green and blue.
function drawPixels(values) {
  const { height, width } = $("pixels");
  const context = $("pixels").getContext("2d");
  const image = context.createImageData(width, height);
  const channels = values.length / (height * width);
  for (let i = 0; i < height * width; i++) {
    const [red, green = red, blue = red] = values.slice(channels * i, channels * (i + 1));
    image.data.set([red, green, blue, 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
}

function showFacts(result) {
  const { model } = engine;
  const facts = [
    ["fact.artifact", `${model.name}, ${model.precision}, ${model.digest.slice(0, 8)}…`],
    ["fact.engine", `${model.backend} ${model.backend_version}`],
  ];
  if (model.test_accuracy !== null) {
    const accuracy = { percent: `${number(100 * model.test_accuracy, 2)} %`, images: model.n_test };
    facts.push(["fact.accuracy", text("fact.accuracy.value", accuracy)]);
  }
  if (result?.inference_ms !== undefined) {
    facts.push(["fact.network", milliseconds(result.inference_ms)], ["fact.preprocessing", milliseconds(result.preprocess_ms)]);
  }
  if (result) facts.push([model.server === false ? "fact.total" : "fact.roundtrip", milliseconds(result.total_ms)]);
  $("facts").replaceChildren(...facts.map(([term, value]) => {
    const [pair, dt, dd] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
    [dt.textContent, dd.textContent] = [text(term), value];
    pair.append(dt, dd);
    return pair;
  }));
}

// Show a message; `retry`: whether trying the same again may help.
function showProblem(message, retry = false) {
  if ($("problem").textContent !== message) $("problem").textContent = message;
  $("retry").hidden = !retry;
}

// Have a screen reader speak a text.
function announce(message) {
  $("spoken").textContent = message;
}

function announceLater(message, unfinished) {
  clearTimeout(announcement);
  if (!unfinished) announcement = setTimeout(announce, ANNOUNCE_DELAY_MS, message);
}

// Show the token dialog; return a promise of the token. `wrong`: the previous one was rejected.
function askToken(wrong) {
  const dialog = $("ask-token");
  if (wrong) $("token-text").textContent = text("token.wrong");
  $("token").value = "";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done($("token").value), { once: true });
  });
}

function percent(share) {
  const value = 100 * share;
  if (value > 99.9 && value < 100) return `${number(99.9, 1)}\u00a0%`;
  return `${number(value, value < 10 || value >= 99 ? 1 : 0)}\u00a0%`;
}

function milliseconds(value) {
  return `${number(value, value < 10 ? 2 : 0)} ms`;
}
