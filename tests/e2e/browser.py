"""What tests of pages share: Debian's Chromium, sizes of windows, and a measure of what can be read."""

import shutil
from importlib.resources import files

CHROMIUM = shutil.which("chromium")
MOST = 120_000  # milliseconds: a browser and an audit on a busy machine
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")  # Deque's checker
PHONE, DESK = (390, 844), (1280, 900)

# The contrast of every text with what is behind it, by WCAG's definition of relative luminance.
CONTRASTS = """() => {
  const parse = (colour) => colour.match(/[0-9.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour[3] !== 0) return colour;
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
    if (!text || !node.checkVisibility()) continue;
    const pair = [luminance(parse(getComputedStyle(node).color)), luminance(behind(node))].sort((a, b) => b - a);
    found.push([text, (pair[0] + 0.05) / (pair[1] + 0.05)]);
  }
  return found;
}"""
