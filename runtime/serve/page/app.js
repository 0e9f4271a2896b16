// The page: what is drawn or shown goes to the engine, its answer to the screen.

import { open, Refusal } from "./engine.js";
import { Pad } from "./pad.js";

const $ = (id) => document.getElementById(id);
const SPEAK_AFTER_MS = 600; // of quiet: a screen reader hears answers, not every change of mind

let engine = null;
let wanted = null; // the newest question; older ones are dropped unasked
let asking = false;
let speaking = 0;
let digits = true; // the classes are 0 to 9
let pictures = null; // stops the camera; the static site reads drawings alone

const pad = new Pad($("pad"), onDrawing, say);
const mode = () => document.querySelector("[name=mode]:checked")?.value ?? "digit";
const rejected = () => (digits ? "No digit I know" : "None of these");

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
  // Escape clears from anywhere but where it has a meaning of its own.
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
    if (!(error instanceof Refusal)) throw error;
    return showProblem(error.message);
  }
  const { labels } = engine.model;
  digits = labels.length === 10 && labels.every((label, i) => label === String(i));
  if (!digits) showOwnClasses();
  $("hint").textContent = digits
    ? "Draw a digit, 0 to 9" : `Draw ${labels.slice(0, 12).join(", ")}${labels.length > 12 ? ", …" : ""}`;
  $("scores").replaceChildren(...labels.map(scoreRow));
  $("scores").classList.toggle("many", labels.length > 12);
  $("scores").classList.toggle("own", !digits && labels.length <= 12);
  showFacts();
  document.body.dataset.ready = "true";
  if (!pad.empty) onDrawing(false);
}

// The page's texts for classes that are not the ten digits.
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
  else requestAnimationFrame(() => onDrawing(false)); // once the pad has its new width
}

function onDrawing(drawing) {
  $("hint").hidden = !pad.empty || pad.picture !== null;
  $("undo").disabled = pad.empty;
  if (pad.picture) return;
  if (pad.empty) return showNothing();
  if (mode() === "digit") ask(pad.digit(), true, drawing);
  else ask(pad.page(), true, drawing);
}

function onPicture(image) {
  $("hint").hidden = true;
  $("undo").disabled = true;
  pad.showPicture(image);
  showNothing("Reading…");
  ask(image, false, false);
}

function ask(canvas, isDrawing, unfinished) {
  wanted = { canvas, isDrawing, unfinished, read: mode() === "number" };
  if (engine && !asking) answerAll();
}

async function answerAll() {
  asking = true;
  while (wanted) {
    const question = wanted;
    wanted = null;
    try {
      const { canvas, isDrawing, read } = question;
      const answer = await (read ? engine.read : engine.classify)(canvas, isDrawing);
      // Meanwhile the pad may have been cleared, or what to read switched.
      if (isDrawing ? pad.empty : pad.picture?.image !== canvas) continue;
      if (read !== (mode() === "number")) continue;
      showProblem("");
      (read ? showReading : showAnswer)(answer, question);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      showNothing();
      showProblem(error.message);
    } finally {
      asking = wanted !== null;
    }
  }
}

function showAnswer(answer, { canvas, isDrawing, unfinished }) {
  const { label, confidence, accepted, scores, pixels, box } = answer;
  if (answer.method === "blank" || answer.view?.method === "blank") {
    showNothing();
    if (!isDrawing) showProblem("There is no ink on this picture.");
    return;
  }
  showText(accepted ? label : "?", accepted);
  showSure(accepted ? percent(confidence) : rejected(), accepted ? "sure" : `at most ${label}, ${percent(confidence)}`);
  drawPixels(pixels);
  scores.forEach(({ score }, i) => showScore($("scores").children[i], score, score === confidence));
  showFacts(answer);
  if (!isDrawing) pad.showPicture(canvas, [{ box, text: accepted ? label : "?" }]);
  speak(accepted ? `${label}, ${percent(confidence)} sure` : rejected(), unfinished);
}

function showReading(answer, { canvas, isDrawing, unfinished }) {
  const { text, digits: found } = answer;
  showText(text || "?", text !== "");
  $("result").classList.toggle("free", text.includes("\n"));
  const sure = found.filter((digit) => digit.accepted).map((digit) => digit.confidence);
  const none = digits ? "No digits found" : "Nothing found";
  if (text === "") showSure(none, "");
  else if (sure.length === 1) showSure(percent(sure[0]), "sure");
  else showSure(`≥ ${percent(Math.min(...sure))}`, `sure of each of ${sure.length}${digits ? " digits" : ""}`);
  showFacts(answer);
  if (!isDrawing) {
    pad.showPicture(canvas, found.map(({ box, label, accepted }) => ({ box, text: accepted ? label : "?" })));
  }
  speak(text || none, unfinished);
}

function showNothing(why = pad.picture ? "" : "Nothing drawn yet") {
  showText("–", true);
  $("answer").classList.add("waiting");
  showSure("", why);
  drawPixels(new Uint8Array(28 * 28));
  for (const row of $("scores").children) showScore(row, 0, false);
  showProblem("");
  clearTimeout(speaking);
  $("spoken").textContent = "";
}

function showText(text, accepted) {
  $("result").classList.remove("free");
  const longest = Math.max(...text.split("\n").map((line) => line.length));
  $("answer").textContent = text;
  $("answer").className = accepted ? "" : "refused";
  // Long numbers, and many lines of them, in smaller type.
  const size = Math.min(9, 20 / longest, 16 / text.split("\n").length);
  $("answer").style.setProperty("--answer-size", `${size}rem`);
}

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

function drawPixels(values) {
  const context = $("pixels").getContext("2d");
  const image = context.createImageData(28, 28);
  values.forEach((value, i) => image.data.set([value, value, value, 255], 4 * i));
  context.putImageData(image, 0, 0);
}

function showFacts(answer) {
  const { model } = engine;
  const from = answer?.model ?? model; // the server may have taken up another model meanwhile
  const facts = [
    ["Artifact", `${from.name}, ${from.precision}, ${from.digest.slice(0, 8)}…`],
    ["Engine", `${from.backend} ${from.backend_version}`],
  ];
  if (model.test_accuracy !== null && from.digest === model.digest) {
    facts.push(["Accuracy", `${(100 * model.test_accuracy).toFixed(2)} % of ${model.n_test.toLocaleString("en")} tests`]);
  }
  if (answer?.inference_ms !== undefined) {
    facts.push(["Network", milliseconds(answer.inference_ms)], ["Preprocessing", milliseconds(answer.preprocess_ms)]);
  }
  if (answer) facts.push([model.server === false ? "In all" : "Round trip", milliseconds(answer.total_ms)]);
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

function say(text) {
  $("spoken").textContent = text;
}

function speak(text, unfinished) {
  clearTimeout(speaking);
  if (!unfinished) speaking = setTimeout(say, SPEAK_AFTER_MS, text);
}

function askToken(wrong) {
  const dialog = $("ask-token");
  if (wrong) $("token-text").textContent = "That is not this server's token.";
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
