// The answer to a picture: a frame over each face, a card of bars beside it, and which model spoke.
import { element } from "./api.js";

export const percent = (share) => {
  if (share > 0 && share < 0.005) return "< 1 %";
  if (share >= 0.995 && share < 1) return "> 99 %";
  return `${Math.round(100 * share)} %`;
};
export const named = (face) => `${face.unsure ? "unsure: " : ""}${face.label} ${percent(face.probabilities[face.label])}`;
export const called = (answer) => (answer.version === null ? answer.model : `${answer.model} version ${answer.version}`);

// A picture of one face from a larger one, whose pixels are `by` times those of its box.
export function thumbnail(source, face, by) {
  const [top, left, right, bottom] = face.box.map((edge) => edge * by);
  const half = Math.max(bottom - top, right - left) * 0.55;
  const canvas = element("canvas", { width: 144, height: 144, role: "img", ariaLabel: `Face ${face.face}` });
  const [x, y] = [(left + right) / 2 - half, (top + bottom) / 2 - half];
  canvas.getContext("2d").drawImage(source, x, y, 2 * half, 2 * half, 0, 0, 144, 144);
  return canvas;
}

export function framesOf(answer, colours) {
  return answer.faces.map((face) => {
    const [top, left, right, bottom] = face.box;
    const label = element("span", {}, `${face.face} `, element("em", { textContent: named(face) }));
    const frame = element("button", { type: "button", className: `frame ${face.label}`, ariaLabel: `Face ${face.face}: ${named(face)}` }, label);
    frame.dataset.face = face.face;
    frame.classList.toggle("unsure", face.unsure);
    const [above, below] = [top / answer.height < 0.07, bottom / answer.height > 0.93];
    frame.classList.toggle("below", above && !below);
    frame.classList.toggle("inside", above && below);
    frame.classList.toggle("leftwards", left / answer.width > 0.65);
    const place = { left: left / answer.width, top: top / answer.height, width: (right - left) / answer.width, height: (bottom - top) / answer.height };
    for (const [edge, share] of Object.entries(place)) frame.style[edge] = `${100 * share}%`;
    frame.style.setProperty("--colour", colours[face.label]);
    return frame;
  });
}

export function cardOf(face, about, ...pictures) {
  const bars = Object.entries(face.probabilities).map(([name, share]) => {
    const bar = element("i");
    bar.style.setProperty("--colour", about.colours[name]);
    bar.style.width = `${100 * share}%`;
    return element(
      "div",
      { className: name === face.label ? "top" : "" },
      element("dt", { textContent: name }),
      element("dd", { className: "bar", ariaHidden: "true" }, bar),
      element("dd", { className: "number", textContent: percent(share) }),
    );
  });
  const head = element("h2", {}, element("span", { textContent: face.face }), face.unsure ? `unsure, perhaps ${face.label} ` : `${face.label} `);
  head.append(
    face.unsure
      ? element("small", { textContent: `No expression reaches ${percent(about.unsure_below)}.` })
      : element("em", { textContent: percent(face.probabilities[face.label]) }),
  );
  const reasons = face.quality?.reasons ?? [];
  if (reasons.length) head.append(" ", element("small", { textContent: `Less often right: ${reasons.join(", ")}.` }));
  const card = element("article", { className: "face", ariaLabel: `Face ${face.face}` }, head);
  card.dataset.face = face.face;
  card.append(element("div", { className: "pictures" }, ...pictures), element("dl", { className: "bars" }, ...bars));
  return card;
}

// One sentence for those who hear the page.
export function summary(answer) {
  const { faces, note } = answer;
  if (!faces.length) return note;
  if (faces.length === 1) return `1 face: ${named(faces[0])}. ${note}`.trim();
  const shown = faces.slice(0, 5).map((face) => `${face.face} ${named(face)}`).join(", ");
  const more = faces.length > 5 ? `, and ${faces.length - 5} more` : "";
  return `${faces.length} faces: ${shown}${more}. ${note}`.trim();
}

export function spokenBy(answer, before = "") {
  const line = element("p", { className: "by", textContent: `${before}Answered by ${called(answer)}.` });
  for (const warning of answer.warnings) line.append(" ", element("b", { textContent: warning }));
  return line;
}

// Whichever of a face's frame and card is pointed at or reached by the keyboard, both stand out.
export function join(way) {
  const show = (event) => {
    const number = event.target.closest?.("[data-face]")?.dataset.face;
    for (const part of way.querySelectorAll("[data-face]")) part.classList.toggle("joined", part.dataset.face === number);
    if (number && event.target.closest(".frame")) {
      way.querySelector(`.face[data-face="${number}"]`)?.scrollIntoView({ block: "nearest" });
    }
  };
  for (const kind of ["pointerover", "focusin", "click"]) way.addEventListener(kind, show);
  way.addEventListener("pointerleave", show);
}
