// Who answers: the server this page came from. The static site puts another file in this place,
// which answers in the browser; both give `open` and an engine with `model` and `classify`. Only this
// one has `read`.

const KEY = "digit-edge-token";
const TOKEN = /^[\x21-\x7e]+$/; // what a header can carry; fetch throws at anything else

// What went wrong, in a sentence for the person at the page.
export class Refusal extends Error {}

// Open the engine. `askToken(wrong)` is asked for the server's token where it wants one.
export async function open(askToken) {
  const server = new Server(askToken);
  const model = await (await server.ask("v1/model")).json();
  return {
    model,
    classify: (canvas, drawing) => server.classify(canvas, drawing),
    read: (canvas, drawing) => server.read(canvas, drawing),
  };
}

export class Server {
  constructor(askToken) {
    this.askToken = askToken;
    // …/#token=… hands the token to the page: what stands behind # is not sent over the network.
    const given = new URLSearchParams(location.hash.slice(1)).get("token");
    if (given) {
      sessionStorage.setItem(KEY, given);
      history.replaceState(null, "", location.pathname);
    }
  }

  async classify(canvas, drawing) {
    const start = performance.now();
    const response = await this.#send(`v1/classify?drawing=${drawing}`, canvas, drawing);
    const answer = await response.json();
    const pixels = Uint8Array.from(atob(answer.view.pixels), (c) => c.charCodeAt(0));
    return { ...answer, pixels, box: answer.view.box, total_ms: performance.now() - start };
  }

  async read(canvas, drawing) {
    const start = performance.now();
    const answer = await (await this.#send("v1/read", canvas, drawing)).json();
    return { ...answer, total_ms: performance.now() - start };
  }

  async #send(path, canvas, drawing) {
    const body = drawing ? greymap(canvas) : await encoded(canvas);
    return this.ask(path, { method: "POST", body, headers: { "Content-Type": body.type } });
  }

  async ask(path, options = {}, again = false) {
    const token = sessionStorage.getItem(KEY);
    // A malformed token is not sent: a server that needs one says 401, and the page asks for it.
    const headers = { ...options.headers, ...(TOKEN.test(token ?? "") && { Authorization: `Bearer ${token}` }) };
    let response;
    try {
      response = await fetch(path, { ...options, headers });
    } catch {
      throw new Refusal("The server does not answer. Is it still running?");
    }
    if (response.status === 401) {
      sessionStorage.setItem(KEY, await this.askToken(again || token !== null));
      return this.ask(path, options, true);
    }
    if (!response.ok) {
      const problem = await response.json().catch(() => ({}));
      throw new Refusal(problem.detail ?? `The server says ${response.status}.`);
    }
    return response;
  }
}

// A drawing in PGM, the plainest of formats: a browser takes fifty milliseconds to make a PNG.
function greymap(canvas) {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const gray = Uint8Array.from({ length: width * height }, (_, i) => data[4 * i]);
  return new Blob([`P5\n${width} ${height}\n255\n`, gray], { type: "image/x-portable-graymap" });
}

// A photograph; what is transparent stays so, for the server knows which ground to lay under it.
function encoded(canvas) {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let opaque = true;
  for (let i = 3; i < data.length && opaque; i += 4) opaque = data[i] === 255;
  return new Promise((done) => canvas.toBlob(done, opaque ? "image/jpeg" : "image/png", 0.92));
}
