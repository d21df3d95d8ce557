// The list of audits: follow the running one, stop and remove them.

import { api, events, json } from "./api.js";
import { FINISHED, makeCard } from "./card.js";
import { $, element, failure, show } from "./dom.js";
import { drawTrend } from "./trend.js";

const LATEST = 6; // audits shown before "Show older audits" is pressed
const RETRY = 3000; // milliseconds
const known = new Map(); // every audit that is drawn, by id
const removed = new Set(); // ids, which an answer that was under way may still have
let older = null; // path of the next page of older audits
let timer = null;
let followed = null; // id of the audit whose events are read: one at a time, browsers allow few connections to a server
let following = null; // its AbortController
let changed = () => {}; // called when an audit is done or removed

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
  sayNone();
  offerOlder();
  const waiting = latest.audits.filter((audit) => audit.state === "queued" && !audit.detail);
  follow(latest.audits.find((audit) => audit.state === "running") ?? waiting.at(-1));
}

function sayNone() {
  if (!known.size) show("audits", element("p", { className: "muted", textContent: "None yet." }));
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

// Put an audit that has just been started on the list.
export function add(audit) {
  draw(audit);
  refresh();
}

function draw(audit, place = "prepend") {
  const before = known.get(audit.id);
  if (removed.has(audit.id) || JSON.stringify(audit) === JSON.stringify(before)) return;
  known.set(audit.id, audit);
  const node = makeCard(audit, { cancel, remove });
  const old = card(audit.id);
  const focused = old?.contains(document.activeElement) && document.activeElement.tagName;
  if (old) old.replaceWith(node);
  else {
    if (!document.querySelector(".audit")) show("audits");
    $("audits")[place](node);
  }
  if (focused) (node.querySelector(focused) ?? node.querySelector("a, button"))?.focus(); // keep a keyboard user's place
  if (before && audit.state === "done") changed();
}

async function cancel(audit) {
  try {
    draw(await json(audit.links.self, { method: "DELETE" }));
  } finally {
    refresh();
  }
}

async function remove(audit) {
  await api(`${audit.links.self}?purge=true`, { method: "DELETE" });
  removed.add(audit.id);
  known.delete(audit.id);
  older = older?.replace(/offset=(\d+)/, (_, offset) => `offset=${Math.max(0, offset - 1)}`); // or one would be skipped
  const node = card(audit.id);
  const next = node.nextElementSibling ?? node.previousElementSibling;
  node.remove();
  (next?.querySelector("a, button") ?? $("audits-title")).focus(); // keep a keyboard user's place
  sayNone();
  offerOlder();
  changed();
}

export function listen(listener) {
  changed = listener;
  $("older").addEventListener("click", showOlder);
}
