// The camera's pictures: the parts of one response, which does not end while the camera runs. An
// <img> cannot send the token, so the page takes the response apart itself.

import { Refusal, Server } from "./engine.js";

const RETRY_MS = 2000;
const $ = (id) => document.getElementById(id);
const server = new Server(askToken);

for (;;) {
  try {
    const response = await server.ask("stream");
    for await (const jpeg of jpegs(response.body.getReader())) await show(jpeg);
    say("The camera's program has ended.");
  } catch (error) {
    say(error instanceof Refusal ? error.message : "The pictures have stopped. Is the program still running?");
  }
  await new Promise((done) => setTimeout(done, RETRY_MS));
}

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

// The first part, if it has arrived as a whole.
function firstPart(bytes) {
  const head = new TextDecoder("latin1").decode(bytes.subarray(0, 200));
  const found = /Content-Length: (\d+)\r\n\r\n/.exec(head);
  if (!found) return null;
  const start = found.index + found[0].length, end = start + Number(found[1]);
  return bytes.length < end ? null : { jpeg: bytes.subarray(start, end), rest: bytes.subarray(end) };
}

// Resolves once the picture is on the screen: a slow browser then takes fewer pictures.
async function show(jpeg) {
  const url = URL.createObjectURL(new Blob([jpeg], { type: "image/jpeg" }));
  await new Promise((done) => {
    $("picture").onload = $("picture").onerror = done;
    $("picture").src = url;
  });
  URL.revokeObjectURL(url);
  $("picture").hidden = false;
  say("");
  document.body.dataset.ready = "";
}

function say(text) {
  if ($("problem").textContent !== text) $("problem").textContent = text;
}

function askToken(wrong) {
  const dialog = $("ask-token");
  if (wrong) $("token-text").textContent = "That is not this preview's token.";
  $("token").value = "";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done($("token").value), { once: true });
  });
}
