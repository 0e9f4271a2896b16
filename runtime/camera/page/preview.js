// The camera preview: reads the MJPEG stream and shows each picture.
//
// An <img> element could show the stream, but cannot send the token. So the page requests the stream
// and splits it into JPEGs. engine.js is that of runtime.serve.

import { EngineError, Server } from "./engine.js";
import { text } from "./texts.js";

const RETRY_MS = 2000; // delay before a broken stream is requested again
const MAX_HEAD_BYTES = 200; // the head of a part of the stream is shorter
const $ = (id) => document.getElementById(id);
const server = new Server(askToken);

showMessage(text("preview.waiting"));
for (;;) {
  try {
    const response = await server.request("stream");
    for await (const jpeg of jpegs(response.body.getReader())) await show(jpeg);
    showMessage(text("preview.ended"));
  } catch (error) {
    showMessage(error instanceof EngineError ? error.message : text("preview.gone"));
  }
  await new Promise((done) => setTimeout(done, RETRY_MS));
}

// Yield the JPEGs of a multipart stream.
async function* jpegs(reader) {
  let received = new Uint8Array();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const joined = new Uint8Array(received.length + value.length);
    joined.set(received);
    joined.set(value, received.length);
    received = joined;
    for (let part = firstPart(received); part; part = firstPart(received)) {
      received = part.rest;
      yield part.jpeg;
    }
  }
}

// Return the first part of the received bytes and the rest; null if it is incomplete.
function firstPart(bytes) {
  const head = new TextDecoder("latin1").decode(bytes.subarray(0, MAX_HEAD_BYTES));
  const match = /Content-Length: (\d+)\r\n\r\n/.exec(head);
  if (!match) return null;
  const start = match.index + match[0].length, end = start + Number(match[1]);
  return bytes.length < end ? null : { jpeg: bytes.subarray(start, end), rest: bytes.subarray(end) };
}

// Show a picture; resolves once the browser has decoded it, so that a slow browser gets fewer.
async function show(jpeg) {
  const url = URL.createObjectURL(new Blob([jpeg], { type: "image/jpeg" }));
  await new Promise((done) => {
    $("picture").onload = $("picture").onerror = done;
    $("picture").src = url;
  });
  URL.revokeObjectURL(url);
  $("picture").hidden = false;
  showMessage("");
  document.body.dataset.ready = "";
}

function showMessage(message) {
  if ($("problem").textContent !== message) $("problem").textContent = message;
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
