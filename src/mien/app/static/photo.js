// A photo: chosen, dropped, pasted, an example, or taken by the camera.
import { ask, element, model } from "./api.js";
import { button, drawn, facesCsv, save, saveText, saves, stem } from "./downloads.js";
import { cardOf, framesOf, join, spokenBy, summary, thumbnail } from "./faces.js";

const LONGEST = 2000; // pixels of the photo on the page
const way = document.querySelector("#photo");
const [place, media, note, faces, end] = [".place", ".media", ".note", ".faces", ".end"].map((part) => way.querySelector(part));
const another = way.querySelector(".tools .button");
let newest = 0;

// The photo as the server searched it: as this browser decodes it, or, where it cannot, as the server sends it.
async function pixelsOf(blob, answer) {
  const bitmap = await createImageBitmap(blob).catch(() => null);
  if (bitmap && (!answer || (bitmap.width === answer.width && bitmap.height === answer.height))) return bitmap;
  if (!answer) return null;
  const { picture } = await ask("api/predict?picture=true", blob);
  const shown = element("img", { src: picture });
  await shown.decode();
  return createImageBitmap(shown);
}

function lay(pixels, waiting) {
  const by = Math.min(1, LONGEST / Math.max(pixels.width, pixels.height));
  const canvas = element("canvas", { width: Math.max(1, Math.round(pixels.width * by)), height: Math.max(1, Math.round(pixels.height * by)) });
  Object.assign(canvas, { role: "img", ariaLabel: "The photo" });
  canvas.getContext("2d").drawImage(pixels, 0, 0, canvas.width, canvas.height);
  media.replaceChildren(canvas);
  media.style.setProperty("--ratio", canvas.width / canvas.height);
  media.classList.toggle("waiting", waiting);
  [place.hidden, media.hidden, another.hidden] = [true, false, false];
}

export async function showPhoto(blob, name) {
  const mine = ++newest;
  faces.replaceChildren();
  end.hidden = true;
  note.className = "note";
  note.textContent = "Looking for faces …";
  try {
    const about = await model();
    if (blob.size > about.photo_megabytes * 1e6) throw new Error(`A photo may have at most ${about.photo_megabytes} MB.`);
    const preview = await pixelsOf(blob);
    if (preview && mine === newest) lay(preview, true);
    const answer = await ask("api/predict", blob);
    const pixels = await pixelsOf(blob, answer);
    if (mine === newest) show(blob, name, pixels, answer, about);
  } catch (error) {
    if (mine !== newest) return;
    media.replaceChildren();
    [place.hidden, media.hidden, another.hidden] = [false, true, true];
    note.className = "note warning";
    note.textContent = error.message;
  }
}

function show(blob, name, pixels, answer, about) {
  lay(pixels, false);
  media.append(...framesOf(answer, about.colours));
  media.classList.toggle("crowd", answer.faces.length > 8);
  note.textContent = summary(answer);
  faces.replaceChildren(...answer.faces.map((face) => cardOf(face, about, thumbnail(pixels, face, pixels.width / answer.width))));
  const downloads = saves(
    button("Picture", () => drawn(pixels, answer, about.colours).toBlob((made) => save(made, `${stem(name)}-faces.jpg`), "image/jpeg", 0.92)),
    button("JSON", () => saveText(JSON.stringify(answer, null, 2), "application/json", `${stem(name)}-faces.json`)),
    button("csv", () => saveText(facesCsv(name, answer), "text/csv", `${stem(name)}-faces.csv`)),
  );
  end.replaceChildren(...(answer.faces.length && about.heat ? [heatButton(blob)] : []), ...(answer.faces.length ? [downloads] : []), spokenBy(answer));
  end.hidden = false;
}

function heatButton(blob) {
  const mine = newest;
  const press = async () => {
    asking.disabled = true;
    asking.textContent = "Looking …";
    try {
      const answer = await ask("api/predict?heat=true", blob);
      if (mine !== newest) return;
      for (const face of answer.faces.filter((one) => one.heat)) {
        const picture = element("img", { src: face.heat, alt: `Where the network looked in face ${face.face}` });
        faces.querySelector(`[data-face="${face.face}"] .pictures`).append(picture, element("span", { textContent: "where it looked" }));
      }
      if (answer.note) note.textContent = answer.note;
      asking.remove();
    } catch (error) {
      note.textContent = error.message;
      asking.disabled = false;
      asking.textContent = "Try again";
    }
  };
  const asking = button("Show where the network looked", press);
  return element("div", {}, asking);
}

for (const input of way.querySelectorAll("input[type=file]")) {
  input.addEventListener("change", () => {
    if (input.files[0]) showPhoto(input.files[0], input.files[0].name);
    input.value = ""; // the same file may be chosen again
  });
}
for (const example of way.querySelectorAll(".examples button")) {
  example.addEventListener("click", async () => {
    const file = example.dataset.file;
    showPhoto(await (await fetch(`static/examples/${file}`)).blob(), file);
  });
}
join(way);
model().then((about) => (way.querySelector(".limit").textContent = `At most ${about.photo_megabytes} MB`), () => {});
