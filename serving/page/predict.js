// An image, and the predictions for it and for its natural pattern.

import { json } from "./api.js";
import { $, bar, element, failure, show } from "./dom.js";
import { shrunk } from "./shrink.js";
import { percent } from "./words.js";

const MOST = 5; // classes shown
const CLOSE = 0.5; // logits: a margin below which two classes are all but equal
const UNSURE = "The model is unsure, and the image may show none of its classes. That is all its confidence can tell: of "
  + "such images it may be sure, too.";
let file = null;
let report = () => {}; // called with every answer
let asked = 0; // answers may arrive out of order; only the last request's is shown

export async function predict(chosen = file) {
  if (!chosen) return;
  file = chosen;
  const question = ++asked;
  const preview = $("preview");
  URL.revokeObjectURL(preview.src);
  preview.src = URL.createObjectURL(file);
  preview.alt = `Chosen image ${file.name}`;
  preview.hidden = false;
  $("drop-text").textContent = file.name;
  try {
    const form = new FormData();
    form.append("image", await shrunk(file), file.name);
    const answer = await json(`predict?planes=${$("planes").value}`, { method: "POST", body: form });
    report(answer);
    if (question === asked) show("prediction", ...probabilities(answer), patterns(answer));
  } catch (error) {
    if (question !== asked) return;
    preview.hidden = true;
    show("prediction", failure(error));
  }
}

function probabilities(answer) {
  const ranked = Object.entries(answer.probabilities).sort((a, b) => b[1] - a[1]).slice(0, MOST);
  const bars = element("ul", { className: "bars" });
  for (const [name, probability] of ranked) {
    const text = percent(probability);
    const share = element("span", { className: "share", textContent: text });
    bars.append(element("li", {}, element("span", { textContent: name }), bar(probability, 1, `${name} ${text}`), share));
  }
  const margin = `Ahead of the next class by ${answer.margin.toFixed(2)} (logits).`;
  return [
    element("p", { className: "answer" }, element("strong", { textContent: answer.label })),
    bars,
    element("p", { className: "muted", textContent: margin }),
    ...(unsure(answer) ? [element("p", { className: "muted unsure", textContent: UNSURE })] : []),
  ];
}

// Whether the answer is clearly a guess: hardly likelier than by chance, or than the next class.
function unsure({ margin, probabilities: all }) {
  const shares = Object.values(all);
  return margin < CLOSE || Math.max(...shares) < Math.min(2 / shares.length, 0.5);
}

function patterns({ label, patterns: found }) {
  const rest = 8 - found.planes;
  const perturbed = picture(found.perturbed, `Perturbed pattern: the lower ${rest}, brightened`);
  perturbed.firstChild.style.filter = `brightness(${2 ** found.planes})`; // its pixels are below 2 ** rest
  const verdict = found.agrees
    ? element("p", { className: "verdict agrees", textContent: `The natural pattern is also classified as ${found.label}.` })
    : element("p", { className: "verdict differs", textContent: `The natural pattern is classified as ${found.label}, not ${label}.` });
  return element("div", { className: "patterns" },
    picture(found.natural, `Natural pattern: the upper ${found.planes} of 8 bit-planes`), perturbed, verdict);
}

const picture = (source, text) =>
  element("figure", {}, element("img", { src: source, alt: "" }), element("figcaption", { textContent: text }));

// Choose, drop or paste an image; predict again when the number of bit-planes changes.
export function listen(answered) {
  report = answered;
  $("file").addEventListener("change", ({ target }) => target.files[0] && predict(target.files[0]));
  $("planes").addEventListener("change", () => predict());
  document.addEventListener("paste", ({ clipboardData }) => clipboardData.files[0] && predict(clipboardData.files[0]));
  for (const type of ["dragenter", "dragover", "dragleave", "drop"]) {
    $("drop").addEventListener(type, (event) => {
      event.preventDefault();
      $("drop").classList.toggle("over", type === "dragenter" || type === "dragover");
      if (type === "drop" && event.dataTransfer.files[0]) predict(event.dataTransfer.files[0]);
    });
  }
}
