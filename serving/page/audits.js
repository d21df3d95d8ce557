// Audits: start, follow and stop them, and open their reports.

import { events, json } from "./api.js";
import { $, bar, element, failure, percent, shortDigest, show, underAttack } from "./dom.js";
import { openReport } from "./report.js";
import { drawTrend } from "./trend.js";

const FINISHED = ["done", "failed", "cancelled"];
const LATEST = 6; // audits shown before "Show older audits" is pressed
const RETRY = 3000; // milliseconds
const known = new Map(); // every audit that is drawn, by id
let older = null; // path of the next page of older audits
let timer = null;
let followed = null; // id of the audit whose events are read: one at a time, browsers allow few connections to a server
let following = null; // its AbortController

const card = (id) => document.getElementById(`audit-${id}`);

// Draw every audit and follow the running one, or else the next in the queue.
export async function refresh() {
  let latest;
  try {
    latest = await json("audits");
  } catch (error) {
    if (!document.querySelector(".audit")) show("audits", failure(error));
    follow(null);
    if (!error.status || error.status === 503) later(RETRY); // unreachable or busy: retry
    return;
  }
  if (!known.size) older = latest.links.next;
  for (const audit of latest.audits.toReversed()) draw(audit);
  $("audits").querySelector(":scope > .error")?.remove();
  if (!known.size) show("audits", element("p", { className: "muted", textContent: "None yet." }));
  offerOlder();
  const waiting = latest.audits.filter((audit) => audit.state === "queued" && !audit.detail);
  follow(latest.audits.find((audit) => audit.state === "running") ?? waiting.at(-1));
}

const folded = () => known.size > LATEST && $("audits").classList.contains("folded");

function offerOlder() {
  $("older").hidden = !folded() && !older;
  drawTrend([...known.values()]);
}

// First the hidden ones that are already loaded, then one page from the server at a time.
async function showOlder({ target }) {
  if (folded()) {
    $("audits").classList.remove("folded");
    offerOlder();
    return;
  }
  target.disabled = true;
  try {
    const page = await json(older.slice(1));
    older = page.links.next;
    $("audits").classList.remove("folded");
    for (const audit of page.audits) draw(audit, "append");
    offerOlder();
  } catch (error) {
    show("audit-error", failure(error));
  } finally {
    target.disabled = false;
  }
}

async function follow(audit) {
  if (followed === audit?.id) return;
  following?.abort();
  followed = audit?.id;
  if (!audit) return;
  following = new AbortController();
  const { signal } = following;
  try {
    await events(audit.links.events, draw, signal);
  } catch (error) {
    if (signal.aborted) return;
  }
  // It ended, or the connection broke: refresh. A broken connection would break again at once, so wait.
  followed = null;
  later(FINISHED.includes(card(audit.id)?.dataset.state) ? 0 : RETRY);
}

function later(milliseconds) {
  clearTimeout(timer);
  timer = setTimeout(refresh, milliseconds);
}

function draw(audit, place = "prepend") {
  known.set(audit.id, audit);
  const { request, progress, state } = audit;
  const title = `${request.suite}, ${request.norm === "l2" ? "L2" : "Linf"} ${request.eps}, ${request.samples} images`;
  const actions = element("span", { className: "actions" }, element("span", { className: `state ${state}`, textContent: state }));
  if (audit.links.report_html) actions.append(reportLink(audit.links, title));
  if (!FINISHED.includes(state)) actions.append(cancelButton(audit, title));
  const about = element("span", { className: "muted", textContent: `${shortDigest(audit.model)}, ${when(audit.created)}${audit.by ? `, by ${audit.by}` : ""}` });
  about.title = audit.model;
  const node = element("article", { className: "audit", id: `audit-${audit.id}` },
    element("div", {}, element("span", {}, element("strong", { textContent: title }), " ", about), actions));
  node.dataset.state = state;
  node.setAttribute("aria-label", `Audit ${title}`);
  if (audit.error || audit.detail) {
    node.append(element("p", { className: audit.error ? "error" : "muted", textContent: audit.error ?? audit.detail }));
  }
  if (progress && state === "running") node.append(...running(progress));
  if (progress?.done) node.append(state === "done" ? summary(progress) : table(progress.stages));
  const old = card(audit.id);
  const focused = old?.contains(document.activeElement) && document.activeElement.tagName;
  if (old) old.replaceWith(node);
  else {
    if (!document.querySelector(".audit")) show("audits");
    $("audits")[place](node);
  }
  if (focused) (node.querySelector(focused) ?? node.querySelector("a, button"))?.focus(); // keep a keyboard user's place
}

function running({ done, total, share, seconds_left: left }) {
  const steps = `${done} of ${total} steps`;
  if (left == null) return [bar(done, total, steps)];
  return [bar(share, 1, `${percent(share)}, ${steps}`), element("span", { className: "muted", textContent: ` about ${duration(left)} left` })];
}

function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

const when = (seconds) => `${new Date(1000 * seconds).toISOString().slice(0, 16)}Z`;

function reportLink(links, title) {
  const link = element("a", { href: links.report_html.slice(1), textContent: "Open report" });
  link.setAttribute("aria-label", `Open report of ${title}`);
  link.addEventListener("click", (event) => openReport(event, links));
  return link;
}

function cancelButton(audit, title) {
  const button = element("button", { className: "quiet", type: "button", textContent: "Cancel" });
  button.setAttribute("aria-label", `Cancel audit ${title}`);
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      draw(await json(audit.links.self, { method: "DELETE" }));
    } catch (error) {
      card(audit.id).append(failure(error));
    }
    refresh();
  });
  return button;
}

function summary({ stages, accuracy }) {
  const [clean, worst] = [stages[0], stages.at(-1)];
  const attacks = underAttack(accuracy);
  const nothing = clean.robust && clean.robust === worst.robust ? " The attacks broke nothing: they may be too weak to tell." : "";
  const text = `${clean.robust} of ${clean.samples} images are right without attack, and ${worst.robust} remain right ${attacks}.${nothing}`;
  return element("p", { className: "summary", textContent: text });
}

function table(stages) {
  const rows = stages.map((stage) => element("tr", {},
    element("th", { scope: "row", textContent: stage.stage === "clean" ? "no attack" : stage.stage }),
    element("td", {}, bar(stage.shards, stage.total, `${stage.stage}: ${stage.shards} of ${stage.total} parts`)),
    element("td", { textContent: stage.shards ? `${stage.robust} of ${stage.samples}` : "" }),
    element("td", { textContent: stage.shards ? percent(stage.robust / stage.samples) : "waiting" })));
  const column = (text, colSpan) => element("th", { scope: "col", textContent: text, colSpan });
  const head = element("tr", {}, column("Step", 1), column("Progress", 1), column("Right so far", 2));
  return element("div", { className: "scroll" },
    element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
}

async function start(event) {
  event.preventDefault();
  const button = event.target.querySelector("button");
  button.disabled = true;
  show("audit-error");
  try {
    const values = Object.fromEntries(new FormData(event.target));
    const body = JSON.stringify({ ...values, samples: Number(values.samples) });
    // The key makes the request safe to repeat, should the browser retry it.
    const headers = { "Content-Type": "application/json", "Idempotency-Key": randomKey() };
    draw(await json("audits", { method: "POST", headers, body }));
    refresh();
  } catch (error) {
    show("audit-error", failure(error));
  } finally {
    button.disabled = false;
  }
}

// crypto.randomUUID exists on secure origins only, and the page may be served over plain HTTP.
const randomKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

export function listen() {
  $("audit-form").addEventListener("submit", start);
  $("older").addEventListener("click", showOlder);
}
