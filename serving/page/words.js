// What audits and their parts are called.

const NORMS = { linf: "Linf", l2: "L2", l1: "L1" };

export const percent = (value) => (100 * value).toFixed(1) + " %";
export const shortDigest = (digest) => digest.replace(/^sha256:/, "").slice(0, 8);
export const day = (seconds) => new Date(1000 * seconds).toISOString().slice(0, 10);

export function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

export const ball = ({ norm, eps }) => `${NORMS[norm] ?? norm} ${eps}`;

// Which attacks an accuracy is of: its name is "robust accuracy" only where they follow the model's gradients.
export const underAttack = (name) => (name?.startsWith("accuracy ") ? name.slice(9) : "under every attack");

export function title({ samples, suite, threats = [], min_robust_accuracy: threshold, ...radius }) {
  const parts = [suite, ball(radius), samples == null ? "all images" : `${samples} images`];
  if (threats.length) parts.push(threats.length === 1 ? "1 other threat" : `${threats.length} other threats`);
  if (threshold != null) parts.push(`at least ${Number((100 * threshold).toFixed(4))} % required`);
  return parts.join(", ");
}

export const level = ({ confidence = 0.95 }) => `${Number((100 * confidence).toFixed(2))} %`;

// "36.0 to 42.1"
export const ends = ({ low, high }) => `${(100 * low).toFixed(1)} to ${(100 * high).toFixed(1)}`;
