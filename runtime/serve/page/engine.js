// The engine of the drawing page: sends drawings and pictures to the server of this page.
//
// The static site replaces this file with export/site/engine.js, which runs the model in the browser.
// Both export `open`, which returns an engine with `model`, `classify` and `featureMaps`; only this one
// has `read`, `keep` and `describe`. The camera preview uses `Server` to request its stream.

import { text } from "./texts.js";

const TOKEN_KEY = "digit-edge-token"; // in sessionStorage
const TOKEN_PATTERN = /^[\x21-\x7e]+$/; // characters that a header allows; fetch rejects others
const PHOTO_QUALITY = 0.92; // of the JPEG that is sent

const TEMPORARY = [408, 500, 503]; // statuses of errors that a second try may not have
const UNSUPPORTED = 501; // the model has no feature maps

// An error with a message for the user. `retry`: trying again may help; `unsupported`: the model
// cannot do what was requested.
export class EngineError extends Error {
  constructor(message, { retry = false, unsupported = false } = {}) {
    super(message);
    Object.assign(this, { retry, unsupported });
  }
}

// Open the engine. `askToken(wrong)` returns a promise of the token; it is called if the server
// needs one, with true if the previous token was rejected.
export async function open(askToken) {
  const server = new Server(askToken);
  return {
    model: await server.describe(),
    describe: () => server.describe(),
    featureMaps: (canvas, drawing) => server.featureMaps(canvas, drawing),
    classify: (canvas, drawing) => server.classify(canvas, drawing),
    read: (canvas, drawing) => server.read(canvas, drawing),
    keep: (canvas, drawing, label) => server.keep(canvas, drawing, label),
  };
}

export class Server {
  constructor(askToken) {
    this.askToken = askToken;
    // A token may come in the address, as #token=…: browsers do not send the part after #.
    const token = new URLSearchParams(location.hash.slice(1)).get("token");
    if (token) {
      sessionStorage.setItem(TOKEN_KEY, token);
      history.replaceState(null, "", location.pathname);
    }
  }

  async describe() {
    const model = await (await this.request("v1/model")).json();
    this.limits = { bytes: model.max_body_bytes, pixels: model.max_pixels };
    return model;
  }

  // Return the blocks of the network, with their maps as bytes.
  async featureMaps(canvas, drawing) {
    const response = await this.#send(`v1/feature-maps?drawing=${drawing}`, canvas, drawing);
    const { blocks } = await response.json();
    return blocks.map((block) => ({ ...block, maps: bytesOf(block.maps) }));
  }

  async classify(canvas, drawing) {
    const start = performance.now();
    const response = await this.#send(`v1/classify?drawing=${drawing}`, canvas, drawing);
    const answer = await response.json();
    return { ...answer, pixels: bytesOf(answer.view.pixels), box: answer.view.box, total_ms: performance.now() - start };
  }

  async read(canvas, drawing) {
    const start = performance.now();
    const answer = await (await this.#send("v1/read", canvas, drawing)).json();
    return { ...answer, total_ms: performance.now() - start };
  }

  // Keep an image with its true label on the server; return the label and how many images are kept.
  async keep(canvas, drawing, label) {
    return (await this.#send(`v1/labels?label=${encodeURIComponent(label)}`, canvas, drawing)).json();
  }

  async #send(path, canvas, drawing) {
    const body = drawing ? encodePgm(canvas) : await encodePhoto(canvas);
    return this.request(path, { method: "POST", body, headers: { "Content-Type": body.type } });
  }

  // Send a request with the token; ask the user for the token until the server accepts it.
  async request(path, options = {}, retry = false) {
    const token = sessionStorage.getItem(TOKEN_KEY);
    // A malformed token is not sent: if the server needs one, it returns 401 and the page asks again.
    const authorization = TOKEN_PATTERN.test(token ?? "") && { Authorization: `Bearer ${token}` };
    const headers = { ...options.headers, ...authorization };
    let response;
    try {
      response = await fetch(path, { ...options, headers });
    } catch {
      throw new EngineError(text("problem.gone"), { retry: true });
    }
    if (response.status === 401) {
      sessionStorage.setItem(TOKEN_KEY, await this.askToken(retry || token !== null));
      return this.request(path, options, true);
    }
    if (!response.ok) {
      const { status } = response;
      const key = `problem.${status}`;
      const known = text(key, this.limits);
      throw new EngineError(known === key ? text("problem.other", { status }) : known, {
        retry: TEMPORARY.includes(status), unsupported: status === UNSUPPORTED,
      });
    }
    return response;
  }
}

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

// Encode a drawing as PGM, an uncompressed gray format: encoding a PNG takes a browser 50 ms.
function encodePgm(canvas) {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const gray = Uint8Array.from({ length: width * height }, (_, i) => data[4 * i]);
  return new Blob([`P5\n${width} ${height}\n255\n`, gray], { type: "image/x-portable-graymap" });
}

// Encode a photograph as JPEG; as PNG if it has transparent pixels, which the server then fills.
function encodePhoto(canvas) {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let opaque = true;
  for (let i = 3; i < data.length && opaque; i += 4) opaque = data[i] === 255;
  return new Promise((done) => canvas.toBlob(done, opaque ? "image/jpeg" : "image/png", PHOTO_QUALITY));
}
