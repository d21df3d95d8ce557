// Small helpers to build the page; text is always set as text, never as HTML.

export const $ = (id) => document.getElementById(id);

export function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

export const show = (id, ...nodes) => $(id).replaceChildren(...nodes);
export const percent = (value) => (100 * value).toFixed(1) + " %";
export const shortDigest = (digest) => digest.replace(/^sha256:/, "").slice(0, 8);
// Which attacks an accuracy is of: its name is "robust accuracy" only where they follow the model's gradients.
export const underAttack = (name) => (name?.startsWith("accuracy ") ? name.slice(9) : "under every attack");
export const failure = (error) => element("p", { className: "error", textContent: error.message });

export function bar(value, max, label) {
  const node = element("progress", { max, value });
  node.setAttribute("aria-label", label);
  return node;
}
