// The form that asks for an audit.

import { json } from "./api.js";
import { $, choices, element, failure, show } from "./dom.js";
import { duration } from "./words.js";

// What a radius is in each norm, and the usual one.
const RADII = {
  linf: ["Largest change of a pixel", "8/255", "A fraction of full brightness: 8/255 is 8 of 255 levels."],
  l2: ["Length of the change", "0.5", "The root of the sum of squares over all values of an image, each from 0 to 1."],
  l1: ["Sum of all changes", "12", "The sum over all values of an image, each from 0 to 1."],
};
const FIELDS = { min_robust_accuracy: "threshold", threats: "threats-part" }; // ids, where they are no argument's name
const PAUSE = 500; // milliseconds without a change after which an estimate is asked for
let suites = {};
let usual = {}; // radius that each norm starts with
let started = () => {}; // called with every new audit
let timer = null;
let asked = 0; // answers may arrive out of order; only the last request's is shown

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
  estimate();
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

const post = (path, headers = {}) => json(path, {
  method: "POST",
  headers: { "Content-Type": "application/json", ...headers },
  body: JSON.stringify(request($("audit-form"))),
});

// What an audit as the form has it would take, or why the server would refuse it.
export async function estimate() {
  const question = ++asked;
  let text = "";
  try {
    if ($("audit-form").matches(":valid")) text = expectation(await post("estimate"));
    if (question === asked) refuse(null);
  } catch (error) {
    if (question === asked && error.status === 422) refuse(error); // anything else is said when an audit is started
  }
  if (question === asked) $("estimate").textContent = text;
}

function expectation({ most_evaluations: evaluations, most_seconds: seconds }) {
  if (seconds != null) return `It takes at most about ${duration(seconds)}, less where images fall early.`;
  const count = evaluations.toLocaleString("en");
  return `At most ${count} evaluations of the model in attacks; how long they take here is known after the first audit.`;
}

function estimateLater() {
  asked += 1; // what is still to come is of another request
  clearTimeout(timer);
  timer = setTimeout(estimate, PAUSE);
}

// Say why a request was refused, at the field that is at fault; null: it was not.
function refuse(error) {
  for (const field of document.querySelectorAll("#audit-form [aria-invalid]")) {
    field.removeAttribute("aria-invalid");
    field.removeAttribute("aria-errormessage");
  }
  show("audit-error", ...(error ? [failure(error)] : []));
  const field = error?.argument && $(FIELDS[error.argument] ?? error.argument);
  if (!field || !$("audit-form").contains(field)) return;
  const control = field.matches("fieldset") ? field.querySelector("input:checked") : field;
  control?.setAttribute("aria-invalid", "true");
  control?.setAttribute("aria-errormessage", "audit-error");
  field.closest("details")?.setAttribute("open", "");
}

async function start(event) {
  event.preventDefault();
  const button = event.target.querySelector("button");
  button.disabled = true;
  clearTimeout(timer);
  asked += 1; // what is said from here on is of the audit
  refuse(null);
  try {
    // The key makes the request safe to repeat, should the browser retry it.
    started(await post("audits", { "Idempotency-Key": randomKey() }));
  } catch (error) {
    refuse(error);
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
  $("audit-form").addEventListener("input", estimateLater);
  // The browser cannot point at a field that is folded away.
  $("audit-form").addEventListener("invalid", ({ target }) => target.closest("details")?.setAttribute("open", ""), true);
}
