// The visitor's own camera: a few pictures a second, each answered before the next is sent.
import { ask, element, model } from "./api.js";
import { cardOf, framesOf, join, spokenBy, summary, thumbnail } from "./faces.js";

const EVERY = 250; // milliseconds from one picture to the next, at least
const WHY = {
  NotAllowedError: "The browser did not allow the camera. Allow it for this page beside the address, and start it again.",
  NotFoundError: "No camera was found. Connect one, and start it again.",
  NotReadableError: "The camera is in use by another program. Close that, and start it again.",
};
const way = document.querySelector("#camera");
const [place, media, note, faces, end] = [".place", ".media", ".note", ".faces", ".end"].map((part) => way.querySelector(part));
const [start, take, stop] = [".start", ".take", ".stop"].map((part) => way.querySelector(part));
const video = element("video", { muted: true, playsInline: true, autoplay: true, ariaLabel: "The camera's picture" });
const still = element("canvas");
let stream = null;

const say = (sentence, wrong = false) => {
  note.className = wrong ? "note warning" : "note";
  note.textContent = sentence;
};

export function stopCamera(sentence = "The camera is off.", wrong = false) {
  if (!stream) return;
  for (const track of stream.getTracks()) track.stop();
  stream = video.srcObject = null;
  media.replaceChildren();
  faces.replaceChildren();
  [place.hidden, media.hidden, take.hidden, stop.hidden, end.hidden] = [false, true, true, true, true];
  say(sentence, wrong);
}

async function startCamera() {
  if (!navigator.mediaDevices) return say("Browsers allow the camera only on localhost and over HTTPS.", true);
  say("The browser asks whether this page may use the camera.");
  start.disabled = true;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 }, height: { ideal: 480 } } });
    video.srcObject = stream;
    await video.play();
    if (way.hidden) return stopCamera(); // the visitor turned to another way while the browser asked
  } catch (error) {
    stopCamera();
    return say(WHY[error.name] ?? `The camera does not start (${error.name}).`, true);
  } finally {
    start.disabled = false;
  }
  say("The camera is on.");
  stream.getVideoTracks()[0].addEventListener("ended", () => stopCamera("The camera was disconnected.", true));
  media.replaceChildren(video);
  [place.hidden, media.hidden, take.hidden, stop.hidden] = [true, false, false, false];
  run(stream);
}

async function run(mine) {
  const camera = crypto.getRandomValues(new Uint32Array(4)).join("-");
  const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
  while (stream === mine) {
    const begun = performance.now();
    try {
      const picture = await snapshot(0.85);
      const [about, answer] = [await model(), await ask(`api/frame?camera=${camera}`, picture)];
      if (stream === mine) show(answer, about);
    } catch (error) {
      if (stream === mine) stopCamera(error.message, true);
    }
    await wait(Math.max(0, EVERY - (performance.now() - begun)));
  }
}

function snapshot(quality) {
  [still.width, still.height] = [video.videoWidth, video.videoHeight];
  still.getContext("2d").drawImage(video, 0, 0);
  return new Promise((resolve) => still.toBlob(resolve, "image/jpeg", quality));
}

function show(answer, about) {
  media.style.setProperty("--ratio", answer.width / answer.height);
  const before = media.querySelector(".joined")?.dataset.face;
  media.replaceChildren(video, ...framesOf(answer, about.colours));
  faces.replaceChildren(...answer.faces.map((face) => cardOf(face, about, thumbnail(still, face, 1))));
  for (const part of way.querySelectorAll(`[data-face="${before}"]`)) part.classList.add("joined");
  if (!answer.faces.length) say(summary(answer));
  else if (note.textContent !== "The camera is on.") say("The camera is on."); // said once, not with each picture
  end.replaceChildren(spokenBy(answer));
  end.hidden = false;
}

start.addEventListener("click", startCamera);
stop.addEventListener("click", () => stopCamera());
take.addEventListener("click", async () => {
  const photo = await snapshot(0.95);
  way.dispatchEvent(new CustomEvent("taken", { bubbles: true, detail: photo }));
});
join(way);
