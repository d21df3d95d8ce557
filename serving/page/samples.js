// A few of the model's test images, for who has no picture at hand; only for those who may see them.

import { json } from "./api.js";
import { $, element, show } from "./dom.js";

let chosen = () => {}; // called with a sample as a file

export async function refresh() {
  let found = [];
  try {
    found = (await json("model/samples")).samples;
  } catch {
    // not for this key, or not now: the page does without
  }
  show("sample-images", ...found.map(button));
  $("samples-part").hidden = !found.length;
}

function button({ label, image }) {
  const node = element("button", { className: "sample", type: "button", title: label }, element("img", { src: image, alt: "" }));
  node.setAttribute("aria-label", `Sample of class ${label}`);
  node.addEventListener("click", () => chosen(file(label, image)));
  return node;
}

// Not by fetch, to which the page's policy forbids data: URLs.
function file(label, image) {
  const bytes = Uint8Array.from(atob(image.split(",")[1]), (character) => character.charCodeAt(0));
  return new File([bytes], `${label}.png`, { type: "image/png" });
}

export function listen(listener) {
  chosen = listener;
}
