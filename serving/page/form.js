// The form that asks for an audit.

import { json } from "./api.js";
import { $, choices, element, failure, show } from "./dom.js";

// What a radius is in each norm, and the usual one.
const RADII = {
  linf: ["Largest change of a pixel", "8/255", "A fraction of full brightness: 8/255 is 8 of 255 levels."],
  l2: ["Length of the change", "0.5", "The root of the sum of squares over all values of an image, each from 0 to 1."],
  l1: ["Sum of all changes", "12", "The sum over all values of an image, each from 0 to 1."],
};
let suites = {};
let usual = {}; // radius that each norm starts with
let started = () => {}; // called with every new audit

// Preset what the model was trained against.
export function fill({ limits, recipe, suites: known, threats = {} }) {
  suites = known;
  show("suite", ...choices(Object.keys(suites)));
  $("samples").max = limits.max_samples;
  $("samples").value = Math.min(100, limits.max_samples);
  usual = Object.fromEntries(Object.entries(RADII).map(([norm, [, eps]]) => [norm, eps]));
  const { eps, norm = "linf" } = recipe?.attack ?? {};
  if (norm in RADII) {
    if (eps) usual[norm] = eps;
    $("norm").value = norm;
  }
  $("eps").value = usual[$("norm").value];
  show("threats", ...Object.entries(threats).map(([text, name]) => choice(text, name)));
  $("threats-part").hidden = !Object.keys(threats).length;
  explain();
}

function choice(text, name) {
  const box = element("input", { type: "checkbox", name: "threats", value: text });
  return element("label", { className: "check" }, box,
    element("span", {}, `${name} `, element("code", { className: "muted", textContent: text })));
}

function explain() {
  const [label, , help] = RADII[$("norm").value];
  $("eps-label").textContent = label;
  $("eps-help").textContent = help;
  $("suite-help").textContent = suites[$("suite").value] ? `${suites[$("suite").value]}.` : "";
}

function changeNorm() {
  // What the page has put there means nothing in another norm; what a person has, stays.
  if (Object.values(usual).includes($("eps").value)) $("eps").value = usual[$("norm").value];
  explain();
}

function request(form) {
  const data = new FormData(form);
  const { samples, seed, threats: _, threshold, ...values } = Object.fromEntries(data);
  const body = { ...values, samples: Number(samples) };
  if (data.has("threats")) body.threats = data.getAll("threats");
  if (threshold) body.min_robust_accuracy = Number((threshold / 100).toFixed(8));
  if (seed) body.seed = Number(seed);
  return body;
}

async function start(event) {
  event.preventDefault();
  const form = event.target;
  const button = form.querySelector("button");
  button.disabled = true;
  show("audit-error");
  try {
    // The key makes the request safe to repeat, should the browser retry it.
    const headers = { "Content-Type": "application/json", "Idempotency-Key": randomKey() };
    started(await json("audits", { method: "POST", headers, body: JSON.stringify(request(form)) }));
  } catch (error) {
    show("audit-error", failure(error));
  } finally {
    button.disabled = false;
  }
}

// crypto.randomUUID exists on secure origins only, and the page may be served over plain HTTP.
const randomKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

export function listen(begun) {
  started = begun;
  $("audit-form").addEventListener("submit", start);
  $("norm").addEventListener("change", changeNorm);
  $("suite").addEventListener("change", explain);
  // The browser cannot point at a field that is folded away.
  $("audit-form").addEventListener("invalid", ({ target }) => target.closest("details")?.setAttribute("open", ""), true);
}
