// Which model answers now: asked every few seconds, so that a page that is open sees a new champion too.
const said = element.querySelector(".mien-standing");
const warned = element.querySelector(".mien-warnings");
let before = null;
const line = (name, text) => {
  const p = document.createElement("p");
  p.className = name;
  p.textContent = text;
  return p;
};
const show = (about) => {
  said.textContent = about.model;
  said.classList.toggle("behind", Boolean(about.problem));
  const sentences = about.warnings.concat(about.problem ? [about.problem] : []);
  const shown = Array.from(warned.children, (p) => p.textContent);
  if (shown.join("\n") !== sentences.join("\n")) {
    warned.replaceChildren(...sentences.map((text) => line("mien-warning", text)));
  }
  if (before && before !== about.model) trigger("input");
  before = about.model;
};
const look = () =>
  fetch("api/model")
    .then((answer) => answer.json())
    .then(show)
    .catch(() => said.classList.add("behind"));
look();
setInterval(look, 5000);
