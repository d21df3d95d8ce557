// What model this is, and how it fared in its last audit.

import { json } from "./api.js";
import { $, element, failure, show } from "./dom.js";
import { reportLink, reportOf } from "./report.js";
import { ball, ends, level, percent, underAttack } from "./words.js";

let digest = null; // of the model that the page describes

export async function describe() {
  const model = await json("model");
  digest = model.digest;
  const parts = [kind(model), how(model)];
  if (model.last_audit) parts.push(audited(model.last_audit));
  show("model", ...parts.filter(Boolean));
  return model;
}

// The model may be swapped at any time.
export const notice = (answer) => answer.model !== digest && describe();
export const fail = (error) => show("model", failure(error));

function kind({ architecture, dataset, recipe }) {
  const known = Object.entries({ dataset, architecture: architecture?.name, method: recipe?.method?.name }).filter(([, name]) => name);
  if (!known.length) return null;
  const line = element("p");
  known.forEach(([what, name], index) => {
    line.append(index ? ", " : "", `${index ? what : what[0].toUpperCase() + what.slice(1)} `, element("strong", { textContent: name }));
  });
  return line;
}

function how({ classes, digest: full, input_size: size, provider }) {
  const text = `${classes.length} classes, ${size.join(" x ")} pixels, runs on ${provider.replace("ExecutionProvider", "")}. `;
  return element("p", { className: "muted" }, text, element("code", { textContent: full.slice(0, 19), title: full }));
}

function audited(audit) {
  const weaker = audit.accuracy?.startsWith("accuracy ") ? `, ${underAttack(audit.accuracy).replace(/^under /, "")} only` : "";
  const text = `${percent(audit.clean.value)} right, ${percent(audit.robust.value)} under ${audit.suite} (${ball(audit)}${weaker}), ${audit.samples} images, `
    + `${level(audit.robust)} interval ${ends(audit.robust)}. `;
  return element("p", { id: "last-audit" }, text, reportLink(reportOf(audit.audit), "the last audit", "Report"));
}
