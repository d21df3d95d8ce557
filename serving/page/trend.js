// A plot of accuracy over past audits, model after model, with 95 % intervals.

import { $, choices, show } from "./dom.js";
import { openPage } from "./report.js";
import { ball, day, percent, shortDigest, underAttack } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const Z = 1.959964; // of 95 %
const [LEFT, RIGHT, TOP, BOTTOM, HEIGHT, STEP] = [44, 14, 12, 44, 220, 84]; // pixels; STEP: from audit to audit
let audits = [];

// Wilson's interval for k of n, as in the reports.
export function wilson(k, n) {
  const [share, square] = [k / n, (Z * Z) / n];
  const half = Z * Math.sqrt((share * (1 - share)) / n + square / (4 * n));
  return [share + square / 2 - half, share + square / 2 + half].map((value) => value / (1 + square));
}

const like = ({ request }) => `${request.suite}, ${ball(request)}`;

// Only audits with the same attacks and radius are comparable: one plot for each such group, the latest first.
export function drawTrend(all) {
  audits = all.filter((audit) => audit.state === "done").sort((a, b) => a.finished - b.finished);
  $("trend-section").hidden = !audits.length;
  if (!audits.length) return;
  const choice = $("trend-choice");
  const names = [...new Set(audits.toReversed().map(like))];
  const chosen = names.includes(choice.value) ? choice.value : names[0];
  choice.replaceChildren(...choices(names));
  choice.value = chosen;
  redraw();
}

function redraw() {
  const shown = audits.filter((audit) => like(audit) === $("trend-choice").value);
  show("trend", ...(shown.length ? [drawing(shown)] : []));
  $("trend").scrollLeft = $("trend").scrollWidth; // show the latest if not all fit
}

function drawing(shown) {
  const width = Math.max($("trend").clientWidth, LEFT + RIGHT + STEP * shown.length);
  const x = (index) => LEFT + ((index + 0.5) * (width - LEFT - RIGHT)) / shown.length;
  const y = (share) => TOP + (1 - share) * (HEIGHT - TOP - BOTTOM);
  const svg = node("svg", { width, height: HEIGHT, role: "group", "aria-label": "Accuracy of past audits" });
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    svg.append(node("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(share), y2: y(share) }),
      text(`${100 * share} %`, { x: LEFT - 8, y: y(share) + 4, "text-anchor": "end" }));
  }
  const points = shown.map((audit, index) => point(audit, x(index), y));
  for (const [name, side] of [["clean", -5], ["robust", 5]]) {
    const line = points.map((found, index) => `${x(index) + side},${y(found[name].share)}`).join(" ");
    svg.append(node("polyline", { class: `line ${name}`, points: line }));
  }
  shown.forEach((audit, index) => {
    const before = shown[index - 1]?.model;
    if (audit.model !== before) { // label a model at its first audit
      const between = (x(index) + x(index - 1)) / 2;
      if (before) svg.append(node("line", { class: "change", x1: between, x2: between, y1: TOP, y2: HEIGHT - BOTTOM + 6 }));
      svg.append(text(shortDigest(audit.model), { x: x(index), y: HEIGHT - 10, "text-anchor": "middle", class: "digest" }));
    }
    svg.append(text(day(audit.finished), { x: x(index), y: HEIGHT - BOTTOM + 18, "text-anchor": "middle" }), points[index].mark);
  });
  return svg;
}

// An audit's mark links to its report and has a text alternative.
function point(audit, x, y) {
  const stages = audit.progress.stages;
  const found = { clean: interval(stages[0]), robust: interval(stages.at(-1)) };
  const words = [["clean", "clean"], ["robust", underAttack(audit.progress.accuracy)]].map(([name, called]) =>
    `${called} ${percent(found[name].share)} (${found[name].ends.map(percent).join(" to ")})`).join(", ");
  const title = `Model ${shortDigest(audit.model)}, ${audit.request.samples} images: ${words}`;
  const mark = node("a", { href: audit.links.report_html.slice(1), "aria-label": `${title}. Open report.` });
  mark.addEventListener("click", (event) => openPage(event, audit.links.report_html, audit.links.report));
  const hover = node("title");
  hover.textContent = title;
  mark.append(hover, node("rect", { class: "target", x: x - 16, y: TOP, width: 32, height: HEIGHT - TOP - BOTTOM }));
  for (const [name, side] of [["clean", -5], ["robust", 5]]) {
    const { share, ends } = found[name];
    mark.append(node("line", { class: `whisker ${name}`, x1: x + side, x2: x + side, y1: y(ends[0]), y2: y(ends[1]) }));
    // Shapes differ as well as colours.
    mark.append(name === "clean"
      ? node("circle", { class: name, cx: x + side, cy: y(share), r: 5 })
      : node("rect", { class: name, x: x + side - 4.5, y: y(share) - 4.5, width: 9, height: 9 }));
  }
  return { ...found, mark };
}

function interval({ robust, samples }) {
  return { share: robust / samples, ends: wilson(robust, samples) };
}

function node(tag, attributes = {}) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function text(content, attributes) {
  const made = node("text", attributes);
  made.textContent = content;
  return made;
}

export function listen() {
  $("trend-choice").addEventListener("change", redraw);
  new ResizeObserver(() => audits.length && redraw()).observe($("trend-section"));
}
