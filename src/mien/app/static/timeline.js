// The probabilities of a face over time, as lines that follow the video.
import { element } from "./api.js";

const drawing = (name, attributes) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};

// `rows` of the face, `columns` their names; a pause of more than `gap` seconds breaks a line.
export function timelineOf(face, columns, rows, seconds, colours, video, gap = 1) {
  const at = Object.fromEntries(columns.map((name, place) => [name, place]));
  const end = Math.max(seconds, 1e-3);
  const chart = drawing("svg", { viewBox: "0 0 1000 100", preserveAspectRatio: "none", role: "img", "aria-label": `Face ${face.face} over time: ${spoken(rows, at)}` });
  chart.append(drawing("line", { class: "half", x1: 0, x2: 1000, y1: 50, y2: 50 }));
  for (const name of Object.keys(face.probabilities)) {
    let points = [];
    const draw = () => {
      if (points.length === 1) points.push(`${parseFloat(points[0]) + 4},${points[0].split(",")[1]}`);
      const line = drawing("polyline", { points: points.join(" ") });
      line.style.setProperty("--colour", colours[name]);
      chart.append(line);
      points = [];
    };
    rows.forEach((row, number) => {
      if (number && row[at.time] - rows[number - 1][at.time] > gap) draw();
      points.push(`${(1000 * row[at.time]) / end},${(99 - 98 * row[at[name]]).toFixed(2)}`);
    });
    draw();
  }
  const cursor = drawing("line", { x1: 0, x2: 0, y1: 0, y2: 100 });
  chart.append(cursor);
  video.addEventListener("timeupdate", () => {
    const x = Math.min(1000, (1000 * video.currentTime) / end);
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
  });
  chart.addEventListener("click", (event) => {
    const { left, width } = chart.getBoundingClientRect();
    video.currentTime = ((event.clientX - left) / width) * end;
  });
  const ends = [element("span", { textContent: "0 s" }), element("span", { textContent: `${seconds.toFixed(1)} s` })];
  return element("figure", { className: "timeline" }, chart, element("figcaption", {}, ...ends));
}

// Which expression was likeliest when, for those who hear the page: at most eight changes.
function spoken(rows, at) {
  const changes = rows.filter((row, number) => !number || row[at.label] !== rows[number - 1][at.label]);
  const said = changes.slice(0, 8).map((row) => `${row[at.label]} from ${row[at.time].toFixed(1)} s`);
  return said.join(", ") + (changes.length > 8 ? ", and further changes" : "");
}
