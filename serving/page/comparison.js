// Two audits of the table, side by side.

import { $, element, show } from "./dom.js";
import { openPage } from "./report.js";
import { ball, day, shortDigest } from "./words.js";

const SIDES = ["baseline", "candidate"];
let rows = []; // the newest first

// Offer what the table has. At first, the newest that has another in its ball, against the one before it there.
export function offer(found) {
  const kept = SIDES.map((side) => $(`compare-${side}`).value);
  rows = found;
  fill("baseline", rows, kept[0]);
  if (!rows.some(({ audit }) => audit === kept[0])) $("compare-baseline").value = (second() ?? rows[0])?.audit ?? "";
  change(kept[1]);
}

const second = () => rows.find((row, place) => rows.slice(0, place).some((newer) => ball(newer) === ball(row)));

// Only audits in one ball can be compared.
function change(kept = $("compare-candidate").value) {
  const baseline = rows.find(({ audit }) => audit === $("compare-baseline").value);
  const others = rows.filter((row) => baseline && row !== baseline && ball(row) === ball(baseline));
  fill("candidate", others, kept);
  $("compare").hidden = rows.length < 2;
  $("compare-open").hidden = $("compare-candidate").parentElement.hidden = !others.length;
  $("compare-none").hidden = Boolean(others.length);
  point();
}

function fill(side, offered, kept) {
  show(`compare-${side}`, ...offered.map((row) => element("option", { value: row.audit, textContent: called(row) })));
  if (offered.some(({ audit }) => audit === kept)) $(`compare-${side}`).value = kept;
}

const called = (row) => `${row.name ?? shortDigest(row.model)}, ${row.suite}, ${ball(row)}, ${row.samples} images, ${day(row.finished)}`;

function point() {
  const query = new URLSearchParams(SIDES.map((side) => [side, $(`compare-${side}`).value]));
  $("compare-open").href = `compare.html?${query}`;
}

export function listen() {
  $("compare-baseline").addEventListener("change", () => change());
  $("compare-candidate").addEventListener("change", point);
  $("compare-open").addEventListener("click", (event) => openPage(event, $("compare-open").getAttribute("href")));
}
