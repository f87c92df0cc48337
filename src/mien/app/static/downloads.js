// What a visitor takes along: the picture with its frames, JSON, csv.
import { element } from "./api.js";
import { named } from "./faces.js";

const LONGEST = 4096; // pixels; some browsers draw nothing that is larger

export function save(blob, name) {
  const address = URL.createObjectURL(blob);
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
export const button = (text, press) => element("button", { type: "button", textContent: text, onclick: press });
export const saves = (...buttons) => element("div", { className: "saves" }, element("span", { textContent: "Download" }), ...buttons);
export const saveText = (text, kind, name) => save(new Blob([text], { type: kind }), name);
export const stem = (name) => name.replace(/\.[^.]*$/, "") || "photo";

const cell = (value) => {
  const text = value === null || value === undefined ? "" : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};
export const csv = (columns, rows) => [columns, ...rows].map((row) => row.map(cell).join(",")).join("\n") + "\n";

// The columns of `mien predict --csv`, without those that a photo's file lacks here.
export function facesCsv(name, answer) {
  const classes = Object.keys(answer.faces[0]?.probabilities ?? {});
  const columns = ["file", "face", "top", "left", "right", "bottom", "score", "label", "unsure", "quality", ...classes, "model", "version"];
  const rows = answer.faces.map((face) => [
    ...[name, face.face, ...face.box, face.score, face.label, face.unsure, face.quality.reasons.join(", ")],
    ...[...classes.map((one) => face.probabilities[one]), answer.model, answer.version],
  ]);
  return csv(columns, rows);
}

// A canvas with the picture, and a frame and a tag for each face.
export function drawn(source, answer, colours) {
  const by = Math.min(1, LONGEST / Math.max(source.width, source.height));
  const canvas = element("canvas", { width: Math.round(source.width * by), height: Math.round(source.height * by) });
  const pen = canvas.getContext("2d");
  pen.drawImage(source, 0, 0, canvas.width, canvas.height);
  const scale = canvas.width / answer.width;
  const unit = Math.max(canvas.width, canvas.height);
  for (const face of answer.faces) {
    const [top, left, right, bottom] = face.box.map((edge) => edge * scale);
    const line = Math.max(2, unit / 400);
    for (const [width, colour] of [[line * 2, "#000"], [line, colours[face.label]]]) {
      Object.assign(pen, { lineWidth: width, strokeStyle: colour });
      pen.strokeRect(left, top, right - left, bottom - top);
    }
    const size = Math.max(12, Math.min((right - left) / 6, unit / 28));
    pen.font = `600 ${size}px system-ui, sans-serif`;
    const text = `${face.face} ${named(face)}`;
    const wide = pen.measureText(text).width + size * 0.6;
    const x = Math.max(0, Math.min(left, canvas.width - wide));
    const y = top >= size * 1.4 ? top - size * 1.4 : Math.min(bottom, canvas.height - size * 1.4);
    pen.fillStyle = colours[face.label];
    pen.fillRect(x, y, wide, size * 1.4);
    pen.fillStyle = face.label === "sad" ? "#fff" : "#000";
    pen.fillText(text, x + size * 0.3, y + size * 1.05);
  }
  return canvas;
}
