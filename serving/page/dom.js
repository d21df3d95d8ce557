// Small helpers to build the page; text is always set as text, never as HTML.

export const $ = (id) => document.getElementById(id);

export function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

export const show = (id, ...nodes) => $(id).replaceChildren(...nodes);
export const failure = (error) => element("p", { className: "error", textContent: error.message });
export const choices = (names) => names.map((name) => element("option", { textContent: name }));

export function bar(value, max, label) {
  const node = element("progress", { max, value });
  node.setAttribute("aria-label", label);
  return node;
}
