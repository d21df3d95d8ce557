// The page: predict an image, start audits, follow them live. No dependencies.

const $ = (id) => document.getElementById(id);
const FINISHED = ["done", "failed", "cancelled"];
let stream = null; // one event stream at a time: browsers allow few connections to a server
let followed = null; // the id of its audit

function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

async function call(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer.");
  }
  const body = await response.json();
  if (!response.ok) throw new Error(body.detail ?? response.statusText);
  return body;
}

const percent = (value) => (100 * value).toFixed(1) + " %";
const show = (id, ...nodes) => $(id).replaceChildren(...nodes);
const failure = (error) => element("p", { className: "error", textContent: error.message });

// ---- prediction

async function predict(file) {
  const preview = $("preview");
  URL.revokeObjectURL(preview.src);
  preview.src = URL.createObjectURL(file);
  preview.alt = `Chosen image ${file.name}`;
  preview.hidden = false;
  $("drop-text").textContent = file.name;
  const form = new FormData();
  form.append("image", file);
  try {
    const answer = await call("predict", { method: "POST", body: form });
    const ranked = Object.entries(answer.probabilities).sort((a, b) => b[1] - a[1]).slice(0, 5);
    const bars = element("dl", { className: "bars" });
    for (const [name, probability] of ranked) {
      const bar = element("progress", { max: 1, value: probability });
      bar.setAttribute("aria-label", `${name} ${percent(probability)}`);
      bars.append(element("dt", { textContent: name }), bar, element("dd", { textContent: percent(probability) }));
    }
    const label = element("strong", { textContent: answer.label });
    const margin = ` ahead of the next class by ${answer.margin.toFixed(2)} (logits)`;
    show("prediction", element("p", { className: "answer" }, label), bars,
      element("p", { className: "muted", textContent: `${answer.label} is${margin}.` }));
  } catch (error) {
    preview.hidden = true;
    show("prediction", failure(error));
  }
}

$("file").addEventListener("change", (event) => event.target.files[0] && predict(event.target.files[0]));
for (const type of ["dragenter", "dragover", "dragleave", "drop"]) {
  $("drop").addEventListener(type, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", type === "dragenter" || type === "dragover");
    if (type === "drop" && event.dataTransfer.files[0]) predict(event.dataTransfer.files[0]);
  });
}

// ---- audits

const card = (id) => document.getElementById(`audit-${id}`);

function draw(audit) {
  const { request, progress } = audit;
  const title = `${request.suite}, ${request.norm === "l2" ? "L2" : "Linf"} ${request.eps}, ${request.samples} images`;
  const when = new Date(1000 * audit.created).toLocaleString();
  const actions = element("span", { className: "actions" });
  actions.append(element("span", { className: `state ${audit.state}`, textContent: audit.state }));
  if (audit.links.report_html) {
    actions.append(element("a", { href: audit.links.report_html.slice(1), textContent: "Open report" }));
  }
  if (!FINISHED.includes(audit.state)) {
    const cancel = element("button", { className: "quiet", type: "button", textContent: "Cancel" });
    cancel.setAttribute("aria-label", `Cancel audit ${title}`);
    cancel.addEventListener("click", () => {
      cancel.disabled = true;
      call(audit.links.self.slice(1), { method: "DELETE" }).then(draw, (error) => card(audit.id).append(failure(error)))
        .then(refresh);
    });
    actions.append(cancel);
  }
  const head = element("div", {}, element("span", {}, element("strong", { textContent: title }), " ",
    element("span", { className: "muted", textContent: when })), actions);
  const node = element("div", { className: "audit", id: `audit-${audit.id}` }, head);
  if (audit.error || audit.detail) {
    node.append(element("p", { className: audit.error ? "error" : "muted", textContent: audit.error ?? audit.detail }));
  }
  if (progress && audit.state === "running") {
    const bar = element("progress", { max: progress.total, value: progress.done });
    bar.setAttribute("aria-label", `${progress.done} of ${progress.total} steps`);
    node.append(bar);
  }
  if (progress?.done) node.append(audit.state === "done" ? summary(progress.stages) : table(progress.stages));
  const old = card(audit.id);
  const focused = old?.contains(document.activeElement) && document.activeElement.tagName;
  if (old) old.replaceWith(node);
  else {
    if (!document.querySelector(".audit")) show("audits");
    $("audits").prepend(node);
  }
  if (focused) node.querySelector(focused)?.focus(); // redrawing must not throw a keyboard user out
}

function summary(stages) {
  const [clean, worst] = [stages[0], stages[stages.length - 1]];
  const text = `${clean.robust} of ${clean.samples} images are right without attack, ${worst.robust} still are after every attack.`;
  return element("p", { className: "summary", textContent: text });
}

function table(stages) {
  const rows = stages.filter((stage) => stage.shards).map((stage) => element("tr", {},
    element("th", { scope: "row", textContent: stage.stage === "clean" ? "no attack" : `after ${stage.stage}` }),
    element("td", { textContent: `${stage.robust} of ${stage.samples}` }),
    element("td", { textContent: percent(stage.robust / stage.samples) })));
  const head = element("tr", {}, element("td"), element("th", { scope: "col", colSpan: 2, textContent: "Right so far" }));
  return element("div", { className: "scroll" },
    element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
}

// Draw every audit and follow the one that runs, or else the next in the queue.
async function refresh() {
  let audits;
  try {
    ({ audits } = await call("audits"));
  } catch (error) {
    if (!document.querySelector(".audit")) show("audits", failure(error));
    return;
  }
  for (const audit of [...audits].reverse()) draw(audit);
  const waiting = audits.filter((audit) => audit.state === "queued" && !audit.detail);
  follow(audits.find((audit) => audit.state === "running") ?? waiting.at(-1));
}

function follow(audit) {
  if (followed === audit?.id) return;
  stream?.close();
  followed = audit?.id;
  if (!audit) return;
  stream = new EventSource(audit.links.events.slice(1));
  stream.addEventListener("audit", (event) => {
    const now = JSON.parse(event.data);
    draw(now);
    if (FINISHED.includes(now.state)) refresh();
  });
  stream.addEventListener("error", ({ target }) => {
    if (target.readyState !== EventSource.CLOSED || target !== stream) return; // the browser reconnects by itself
    followed = null;
    setTimeout(refresh, 3000);
  });
}

$("audit-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.submitter ?? event.target.querySelector("button");
  button.disabled = true;
  show("audit-error");
  try {
    const values = Object.fromEntries(new FormData(event.target));
    const body = JSON.stringify({ ...values, samples: Number(values.samples) });
    draw(await call("audits", { method: "POST", headers: { "Content-Type": "application/json" }, body }));
    refresh();
  } catch (error) {
    show("audit-error", failure(error));
  } finally {
    button.disabled = false;
  }
});

// ---- start

try {
  const model = await call("model");
  const size = model.input_size.join(" x ");
  show("model", `${model.classes.length} classes, ${size} pixels, runs on ${model.provider.replace("ExecutionProvider", "")}. `,
    element("code", { textContent: model.digest.slice(0, 19), title: model.digest }));
  $("samples").max = model.limits.max_samples;
  $("samples").value = Math.min(100, model.limits.max_samples);
  $("eps").value = model.recipe?.attack?.eps ?? $("eps").value;  // the threat that it was trained against
  show("suite", ...model.suites.map((name) => element("option", { textContent: name })));
} catch (error) {
  show("model", failure(error));
}
refresh();
