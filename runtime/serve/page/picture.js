// Pictures for the drawing page: chosen, dropped, pasted, or taken with the camera.
//
// Each picture becomes an upright canvas, scaled down before it is sent to the server.

import { text } from "./texts.js";

const MAX_SIDE_PX = 2000; // a longer side is scaled down to this; reading needs no more
const CAMERA_WIDTH_PX = 1280; // width that is requested from the camera

// Connect the controls in `elements`. `use(canvas)` is called with each picture, `fail(message)` if
// there is none, and `change(live)` when the live picture of the camera appears or disappears.
// Returns { live, stop }: whether the camera is live, and a function that stops it.
export function takePictures(elements, { use, fail, change }) {
  const { body, choose, camera, take, file, snap, live } = elements;
  let opened = 0; // number of pictures opened so far; a slow one does not replace a newer one

  async function open(blob) {
    opened += 1;
    const own = opened;
    stop();
    let picture;
    try {
      picture = await openPicture(blob);
    } catch {
      if (own === opened) fail(text("problem.picture"));
      return;
    }
    if (own === opened) use(picture);
  }

  choose.addEventListener("click", () => file.click());
  for (const input of [file, snap]) {
    input.addEventListener("change", () => {
      if (input.files.length) open(input.files[0]);
      input.value = ""; // so that choosing the same file again fires an event
    });
  }

  addEventListener("paste", (event) => {
    if (event.target instanceof HTMLInputElement) return;
    const pasted = [...event.clipboardData.files].find(({ type }) => type.startsWith("image/"));
    if (pasted) open(pasted);
    else fail(text("problem.file"));
  });
  addEventListener("dragover", (event) => {
    event.preventDefault();
    body.classList.toggle("dropping", event.dataTransfer.types.includes("Files"));
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) body.classList.remove("dropping");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    body.classList.remove("dropping");
    if (event.dataTransfer.files.length) open(event.dataTransfer.files[0]);
    else fail(text("problem.file")); // a picture dragged out of another page is an address only
  });

  function stop() {
    if (!live.srcObject) return;
    for (const track of live.srcObject.getTracks()) track.stop();
    live.srcObject = null;
    live.hidden = take.hidden = true;
    camera.textContent = text("camera");
    change(false);
  }

  camera.addEventListener("click", async () => {
    if (live.srcObject) return stop();
    // Browsers allow the live camera on secure pages only; otherwise open the phone's camera app.
    if (!navigator.mediaDevices?.getUserMedia) return snap.click();
    camera.disabled = true;
    try {
      live.srcObject = await navigator.mediaDevices.getUserMedia({
        video: { facingMode: "environment", width: { ideal: CAMERA_WIDTH_PX } },
      });
      live.srcObject.getVideoTracks()[0].addEventListener("ended", () => {
        if (live.srcObject) fail(text("problem.camera.lost"));
      });
      await live.play();
    } catch (error) {
      const denied = error.name === "NotAllowedError";
      return fail(text(denied ? "problem.camera.denied" : "problem.camera"));
    } finally {
      camera.disabled = false;
    }
    live.hidden = take.hidden = false;
    camera.textContent = text("camera.stop");
    change(true);
    take.focus();
  });
  take.addEventListener("click", () => {
    const picture = shrink(live, live.videoWidth, live.videoHeight);
    stop();
    use(picture);
  });
  return { stop, get live() { return !live.hidden; } };
}

// Decode a picture file to a canvas, upright by its EXIF orientation and without color conversion.
export async function openPicture(blob) {
  return shrink(await createImageBitmap(blob, {
    imageOrientation: "from-image", colorSpaceConversion: "none",
  }));
}

// Draw an image on a new canvas, at most MAX_SIDE_PX wide and high.
function shrink(image, width = image.width, height = image.height) {
  const scale = Math.min(1, MAX_SIDE_PX / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas;
}
