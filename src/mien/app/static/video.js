// A video: its faces over time, and the annotated file.
import { download, element, messages, model } from "./api.js";
import { button, csv, save, saveText, saves, stem } from "./downloads.js";
import { cardOf, join, spokenBy, summary } from "./faces.js";
import { timelineOf } from "./timeline.js";

const way = document.querySelector("#video");
const [place, media, note, faces, end] = [".place", ".media", ".note", ".faces", ".end"].map((part) => way.querySelector(part));
const [another, stop, progress] = [".tools .button", ".stop", "progress"].map((part) => way.querySelector(part));
const player = element("video", { controls: true, playsInline: true, ariaLabel: "The video" });
let working = null; // what aborts the present one

player.addEventListener("loadedmetadata", () => {
  if (player.videoWidth) media.style.setProperty("--ratio", player.videoWidth / player.videoHeight);
});

const say = (sentence, wrong = false) => {
  note.className = wrong ? "note warning" : "note";
  note.textContent = sentence;
};

function play(blob) {
  URL.revokeObjectURL(player.src);
  player.src = URL.createObjectURL(blob);
}

export async function showVideo(file) {
  working?.abort();
  const mine = (working = new AbortController());
  faces.replaceChildren();
  end.hidden = true;
  try {
    const about = await model();
    if (!about.video) throw new Error("This server cannot read videos; `pip install 'mien[video]'` enables it to.");
    if (file.size > about.video_megabytes * 1e6) throw new Error(`A video may have at most ${about.video_megabytes} MB.`);
    media.replaceChildren(player);
    play(file);
    [place.hidden, media.hidden, another.hidden, stop.hidden, progress.hidden] = [true, false, true, false, false];
    progress.removeAttribute("value");
    say("The video is on its way to the server …");
    await watch(file, about, mine);
  } catch (error) {
    if (working === mine && error.name !== "AbortError") failed(error.message);
  } finally {
    if (working === mine) [another.hidden, stop.hidden, progress.hidden] = [media.hidden, true, true];
  }
}

function failed(sentence) {
  if (end.hidden) {
    media.replaceChildren();
    [place.hidden, media.hidden] = [false, true];
  }
  say(sentence, true);
}

async function watch(file, about, mine) {
  let [answer, note] = [null, ""];
  for await (const message of messages("api/video", file, mine.signal)) {
    if (working !== mine) return;
    if ("share" in message) {
      progress.value = message.share;
      say(answer ? "The annotated video is being drawn …" : "Looking for faces …");
    } else if ("timeline" in message) {
      answer = message;
      show(file, answer, about, null);
    } else {
      const annotated = await download(`api/video/${message.video}`);
      if (working !== mine) return;
      play(annotated);
      show(file, answer, about, annotated);
      note = message.note;
    }
  }
  if (!answer) throw new Error("The server ended the answer; please send the video again.");
  say(`${summary(answer)} ${note}`.trim());
}

function show(file, answer, about, annotated) {
  const { columns, data } = answer.timeline;
  const track = columns.indexOf("track");
  const cards = answer.faces.map((face) => {
    const card = cardOf(face, about, element("img", { src: face.picture, alt: `Face ${face.face}` }));
    card.append(timelineOf(face, columns, data.filter((row) => row[track] === face.face), answer.seconds, about.colours, player));
    return card;
  });
  faces.replaceChildren(...cards);
  const name = `${stem(file.name)}-faces`;
  const downloads = [
    button("csv", () => saveText(csv(columns, data), "text/csv", `${name}.timeline.csv`)),
    button("JSON", () => saveText(JSON.stringify(answer, null, 2), "application/json", `${name}.json`)),
  ];
  if (annotated) downloads.unshift(button("Video", () => save(annotated, `${name}.mp4`)));
  const means = `The bars are means over ${answer.pictures} pictures from ${answer.seconds.toFixed(1)} seconds. `;
  end.replaceChildren(saves(...downloads), spokenBy(answer, means));
  end.hidden = false;
}

for (const input of way.querySelectorAll("input[type=file]")) {
  input.addEventListener("change", () => {
    if (input.files[0]) showVideo(input.files[0]);
    input.value = "";
  });
}
stop.addEventListener("click", () => {
  working?.abort();
  failed("Stopped.");
});
join(way);
model().then((about) => {
  const most = `At most ${about.video_megabytes} MB; the first ${about.video_seconds} seconds are analysed`;
  way.querySelector(".limit").textContent = about.video ? most : "This server cannot read videos.";
}, () => {});
