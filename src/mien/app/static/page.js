// The page: which model answers, the three ways, and files that are dropped or pasted anywhere.
import { element, model } from "./api.js";
import { stopCamera } from "./camera.js";
import { showPhoto } from "./photo.js";
import { showVideo } from "./video.js";

const EVERY = 5000; // milliseconds: a page that is open sees a new champion too
const [said, warning, card] = ["#model", "#warning", "#card"].map((part) => document.querySelector(part));

async function follow() {
  try {
    const about = await model(true);
    if (said.textContent !== about.model) said.textContent = about.model;
    said.parentElement.classList.toggle("behind", Boolean(about.problem));
    const text = [...about.warnings, about.problem].filter(Boolean).join(" ");
    if (warning.textContent !== text) warning.textContent = text;
    warning.hidden = !text;
  } catch {
    said.parentElement.classList.add("behind");
  }
}
follow();
setInterval(follow, EVERY);

const ways = document.querySelectorAll(".ways input");
function turnTo(name) {
  for (const input of ways) input.checked = input.value === name;
  for (const way of document.querySelectorAll(".way")) way.hidden = way.id !== name;
  if (name !== "camera") stopCamera();
}
for (const input of ways) input.addEventListener("change", () => turnTo(input.value));
turnTo("photo");

function take(file) {
  const way = file.type.startsWith("video/") ? "video" : "photo";
  turnTo(way);
  if (way === "video") showVideo(file);
  else showPhoto(file, file.name || "pasted.png");
}
document.addEventListener("taken", (event) => {
  turnTo("photo");
  showPhoto(event.detail, "camera.jpg");
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files[0]) take(event.clipboardData.files[0]);
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragged");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragged");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragged");
  if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
});

document.querySelector("#about").addEventListener("click", () => {
  const frame = card.querySelector("iframe");
  frame.replaceWith(element("iframe", { title: "Model card", src: "card", sandbox: "allow-same-origin" })); // of this moment's model
  card.showModal();
});
