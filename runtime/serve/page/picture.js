// Pictures: chosen, dropped, pasted, or taken with a camera. Each ends as a canvas, upright and no
// larger than reading it needs.

const LONGEST = 2000;

// Call `use(canvas)` with each picture, `refused(text)` where there is none to be had.
export function takePictures(elements, use, refused) {
  const { body, choose, camera, take, file, snap, live } = elements;

  async function open(blob) {
    try {
      use(await openPicture(blob));
    } catch {
      refused("This is no picture that the browser can open.");
    }
  }

  choose.addEventListener("click", () => file.click());
  for (const input of [file, snap]) {
    input.addEventListener("change", () => {
      if (input.files.length) open(input.files[0]);
      input.value = ""; // so that the same picture can be chosen again
    });
  }

  addEventListener("paste", (event) => {
    const found = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
    if (found) open(found);
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
  });

  function stop() {
    for (const track of live.srcObject?.getTracks() ?? []) track.stop();
    live.srcObject = null;
    live.hidden = take.hidden = true;
    camera.textContent = "Camera";
  }

  camera.addEventListener("click", async () => {
    if (live.srcObject) return stop();
    // Browsers give the live picture to secure pages only; elsewhere the phone's own camera opens.
    if (!navigator.mediaDevices?.getUserMedia) return snap.click();
    try {
      live.srcObject = await navigator.mediaDevices.getUserMedia({
        video: { facingMode: "environment", width: { ideal: 1280 } },
      });
    } catch {
      return snap.click();
    }
    live.hidden = take.hidden = false;
    camera.textContent = "Stop";
    await live.play();
    take.focus();
  });
  take.addEventListener("click", () => {
    const picture = shrink(live, live.videoWidth, live.videoHeight);
    stop();
    use(picture);
  });
  return { stop };
}

// The canvas of a picture in a file. The browser turns it as its EXIF data say, and leaves its
// colors as they are stored.
export async function openPicture(blob) {
  return shrink(await createImageBitmap(blob, {
    imageOrientation: "from-image", colorSpaceConversion: "none",
  }));
}

function shrink(image, width = image.width, height = image.height) {
  const scale = Math.min(1, LONGEST / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas;
}
