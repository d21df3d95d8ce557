// Every model and threat that was audited on this server, in a table to sort and to filter.

import { json } from "./api.js";
import * as comparison from "./comparison.js";
import { $, choices, element, failure, show } from "./dom.js";
import * as fragment from "./fragment.js";
import { reportLink, reportOf } from "./report.js";
import { sortedTable } from "./table.js";
import { ball, day, ends, level, percent, shortDigest } from "./words.js";

const MOST = 200; // audits that the server lists at a time
const USUAL = "-robust"; // the order without another one in the address
const USUAL_LEVEL = 0.95; // of intervals, which the section states
const FILTERS = { suite: ({ suite }) => suite, ball };
const HIDDEN = [403, 404]; // for this key there is no table, or on this server
let rows = [];
let linked = location.hash !== ""; // whether the address is about the table, and it was not yet shown

export async function refresh() {
  try {
    rows = (await json(`leaderboard?limit=${MOST}`)).rows;
    show("leaderboard-error");
  } catch (error) {
    if (HIDDEN.includes(error.status)) rows = [];
    else if (rows.length) show("leaderboard-error", failure(error)); // beside what was there
  }
  draw();
}

function draw() {
  $("leaderboard").hidden = !rows.length;
  comparison.offer(rows);
  if (!rows.length) return;
  const state = fragment.read();
  for (const [name, of] of Object.entries(FILTERS)) {
    // What the address asks for is offered even where there is none: the filter must be seen.
    const names = new Set([...rows.map(of), state[name]].filter(Boolean));
    const others = choices([...names].sort((a, b) => a.localeCompare(b, "en", { numeric: true })));
    show(`leaderboard-${name}`, element("option", { value: "", textContent: "All" }), ...others);
    $(`leaderboard-${name}`).value = state[name] ?? "";
  }
  const shown = rows.filter((row) => Object.entries(FILTERS).every(([name, of]) => !state[name] || of(row) === state[name]));
  const focused = $("leaderboard-table").contains(document.activeElement) && document.activeElement.dataset.key;
  const table = sortedTable(columns(shown), shown, state.sort ?? USUAL, (sort) => choose({ sort }));
  table.setAttribute("aria-labelledby", "leaderboard-title");
  show("leaderboard-table", table);
  $("leaderboard-count").textContent = `${shown.length} of ${rows.length < MOST ? rows.length : `the latest ${MOST}`} audits`;
  if (focused) [...table.querySelectorAll("button")].find(({ dataset }) => dataset.key === focused)?.focus(); // the new one
  if (linked) $("leaderboard").scrollIntoView();
  linked = false;
}

function choose(change) {
  const state = { ...fragment.read(), ...change };
  fragment.write({ ...state, sort: state.sort === USUAL ? "" : state.sort });
  draw();
}

function columns(shown) {
  const threats = [...new Set(shown.flatMap((row) => Object.keys(row.threats ?? {})))].sort();
  const number = (key, title, found) => ({
    key, title, descendingFirst: true, value: (row) => found(row)?.value, cell: (row) => figure(found(row)),
  });
  return [
    { key: "model", title: "Model", value: called, cell: model },
    { key: "suite", title: "Suite", value: FILTERS.suite, cell: FILTERS.suite },
    { key: "ball", title: "Ball", value: ball, cell: ball },
    { key: "samples", title: "Images", descendingFirst: true, value: ({ samples }) => samples, cell: images },
    number("clean", "Not attacked", ({ clean }) => clean),
    { ...number("robust", "Attacked", ({ robust }) => robust), cell: attacked },
    ...threats.map((text) => threat(text, number)),
    ...(threats.length ? [number("worst", "Worst case", (row) => row.worst_case)] : []),
    { key: "finished", title: "Finished", descendingFirst: true, value: ({ finished }) => finished, cell: ({ finished }) => day(finished) },
    { title: "Report", cell: (row) => reportLink(reportOf(row.audit), `${called(row)}, ${row.suite}, ${ball(row)}`, "Report") },
  ];
}

// "patch:area=2%" with its parameters below its name
function threat(text, number) {
  const [name, ...parameters] = text.split(":");
  return { ...number(text, name, ({ threats }) => threats?.[text]), note: parameters.join(":") };
}

const called = ({ name, model: digest }) => name ?? shortDigest(digest);

function model(row) {
  const label = element("span", { textContent: called(row), title: row.model });
  return row.name ? [label, " ", element("code", { className: "muted", textContent: shortDigest(row.model) })] : label;
}

// How many, and of which set if not of the model's own.
function images({ samples, data }) {
  const of = data ? [" ", element("small", { textContent: `of ${data}` })] : [];
  return [`${samples ?? ""}`, ...of];
}

function figure(found) {
  if (found?.value == null) return "";
  const share = element("span", { className: "figure", textContent: percent(found.value) });
  if (found.low == null) return share;
  const other = (found.confidence ?? USUAL_LEVEL) === USUAL_LEVEL ? "" : `, at ${level(found)}`;
  return [share, " ", element("small", { textContent: ends(found) + other })];
}

// An accuracy that is not of attacks that follow the model's gradients says so.
function attacked({ accuracy, robust }) {
  const weaker = accuracy?.startsWith("accuracy ") ? [" ", element("small", { textContent: accuracy.slice(9) })] : [];
  return [figure(robust), weaker].flat();
}

export function listen() {
  for (const name of Object.keys(FILTERS)) {
    $(`leaderboard-${name}`).addEventListener("change", ({ target }) => choose({ [name]: target.value }));
  }
  addEventListener("hashchange", draw);
  comparison.listen();
}
