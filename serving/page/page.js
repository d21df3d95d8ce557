// The page: classify an image, start audits, follow them live, review past ones. No dependencies, no build step.

import { getKey, json, setKey } from "./api.js";
import * as audits from "./audits.js";
import { $, element, failure, show } from "./dom.js";
import * as prediction from "./predict.js";
import * as trend from "./trend.js";

let digest = null; // of the model that the page describes

async function describe() {
  const model = await json("model");
  digest = model.digest;
  const size = model.input_size.join(" x ");
  show("model", `${model.classes.length} classes, ${size} pixels, runs on ${model.provider.replace("ExecutionProvider", "")}. `,
    element("code", { textContent: model.digest.slice(0, 19), title: model.digest }));
  return model;
}

// Preset what the model was trained with: the radius, and the bit-planes of its method.
function fill({ limits, recipe, suites }) {
  $("samples").max = limits.max_samples;
  $("samples").value = Math.min(100, limits.max_samples);
  $("eps").value = recipe?.attack?.eps ?? $("eps").value;
  $("planes").value = recipe?.method?.planes ?? $("planes").value;
  show("suite", ...Object.keys(suites).map((name) => element("option", { textContent: name })));
  const explain = () => ($("suite-help").textContent = `${suites[$("suite").value]}.`);
  $("suite").addEventListener("change", explain);
  explain();
}

async function begin() {
  try {
    fill(await describe());
  } catch (error) {
    show("model", failure(error));
    $("key-form").hidden = error.status !== 401 && !getKey();
  }
  audits.refresh();
}

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setKey($("key").value.trim());
  begin();
});
prediction.listen((answer) => answer.model !== digest && describe()); // the model may be swapped at any time
audits.listen();
trend.listen();
$("key").value = getKey();
$("key-form").hidden = !getKey();
begin();
