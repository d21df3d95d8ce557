// One audit in the list: what was asked, how far it is, what came out, and what can be done with it.

import { bar, element, failure } from "./dom.js";
import { reportLink } from "./report.js";
import { duration, percent, shortDigest, title, underAttack } from "./words.js";

export const FINISHED = ["done", "failed", "cancelled"];

// `cancel` and `remove` are called with the audit when its buttons are pressed; what they throw is shown on the card.
export function makeCard(audit, { cancel, remove }) {
  const { request, progress, state } = audit;
  const name = title(request);
  const actions = element("span", { className: "actions" }, element("span", { className: `state ${state}`, textContent: state }));
  const node = element("article", { className: "audit", id: `audit-${audit.id}` });
  const act = async (button, action) => {
    button.disabled = true;
    node.querySelector(":scope > .error.action")?.remove();
    try {
      await action(audit);
    } catch (error) {
      const said = failure(error);
      said.classList.add("action");
      said.setAttribute("role", "alert");
      node.append(said);
    } finally {
      button.disabled = false;
    }
  };
  if (audit.links.report_html) actions.append(reportLink(audit.links, name));
  actions.append(FINISHED.includes(state) ? removeButton(name, act, remove) : cancelButton(name, act, cancel));
  const about = element("span", { className: "muted", textContent: `${shortDigest(audit.model)}, ${when(audit.created)}${audit.by ? `, by ${audit.by}` : ""}${audit.data ? `, on ${audit.data}` : ""}` });
  about.title = audit.model;
  node.dataset.state = state;
  node.setAttribute("aria-label", `Audit ${name}`);
  if (state === "cancelled") { // of no more interest: one line
    node.classList.add("muted");
    node.append(element("div", {}, element("span", { textContent: name, title: about.textContent }), actions));
    return node;
  }
  node.append(element("div", {}, element("span", {}, element("strong", { textContent: name }), " ", about), actions));
  if (audit.error || audit.detail) {
    node.append(element("p", { className: audit.error ? "error" : "muted", textContent: audit.error ?? audit.detail }));
  }
  if (progress && state === "running") node.append(...running(progress));
  if (progress?.done) node.append(state === "done" ? summary(progress, request.threats ?? []) : table(progress.stages));
  return node;
}

function cancelButton(name, act, cancel) {
  const button = element("button", { className: "quiet", type: "button", textContent: "Cancel" });
  button.setAttribute("aria-label", `Cancel audit ${name}`);
  button.addEventListener("click", () => act(button, cancel));
  return button;
}

// The first press asks, the second removes.
function removeButton(name, act, remove) {
  const button = element("button", { className: "slight", type: "button" });
  let asked;
  const ask = (now) => {
    asked = now;
    button.classList.toggle("asked", asked);
    button.textContent = asked ? "Really remove?" : "Remove";
    button.setAttribute("aria-label", asked ? `Really remove? Audit ${name}` : `Remove audit ${name}`);
  };
  ask(false);
  button.addEventListener("blur", () => ask(false));
  button.addEventListener("click", async () => {
    if (!asked) return ask(true);
    await act(button, remove);
    ask(false);
  });
  return button;
}

function running({ done, total, share, seconds_left: left }) {
  const steps = `${done} of ${total} steps`;
  if (left == null) return [bar(done, total, steps)];
  return [bar(share, 1, `${percent(share)}, ${steps}`), element("span", { className: "muted", textContent: ` about ${duration(left)} left` })];
}

const when = (seconds) => `${new Date(1000 * seconds).toISOString().slice(0, 16)}Z`;

function summary({ stages, accuracy }, threats) {
  const [clean, worst] = [stages[0], stages.at(-1)];
  const attacks = underAttack(accuracy);
  const nothing = clean.robust && clean.robust === worst.robust ? " The attacks broke nothing: they may be too weak to tell." : "";
  // The figures are of the ball; a threat beside it may break more.
  const beside = threats.length ? " in the ball; for the other threats, see the report." : ".";
  const text = `${clean.robust} of ${clean.samples} images are right without attack, and ${worst.robust} remain right ${attacks}${beside}${nothing}`;
  return element("p", { className: "summary", textContent: text });
}

function table(stages) {
  const rows = stages.map((stage) => {
    const counted = stage.shards && !stage.stage.includes("/"); // THREAT/ATTACK: its count is the ball's, not its own
    return element("tr", {},
      element("th", { scope: "row", textContent: stage.stage === "clean" ? "no attack" : stage.stage }),
      element("td", {}, bar(stage.shards, stage.total, `${stage.stage}: ${stage.shards} of ${stage.total} parts`)),
      element("td", { textContent: counted ? `${stage.robust} of ${stage.samples}` : "" }),
      element("td", { textContent: counted ? percent(stage.robust / stage.samples) : stage.shards ? "" : "waiting" }));
  });
  const column = (text, colSpan) => element("th", { scope: "col", textContent: text, colSpan });
  const head = element("tr", {}, column("Step", 1), column("Progress", 1), column("Right so far", 2));
  return element("div", { className: "scroll" },
    element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
}
