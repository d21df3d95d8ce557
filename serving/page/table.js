// A table that sorts by any column.

import { element } from "./dom.js";

// `columns` have a `key`, a `title`, perhaps a `note` to it, a `value` of each row to sort by, and a `cell` that is shown.
// `sorting` is a key, with "-" before it for descending; `choose` is called with another one.
export function sortedTable(columns, rows, sorting, choose) {
  const column = columns.find(({ key }) => key === sorting.replace(/^-/, ""));
  const sorted = column ? rows.toSorted(order(column.value, sorting.startsWith("-"))) : rows;
  const head = element("tr", {}, ...columns.map((each) => heading(each, each === column ? sorting : "", choose)));
  const body = sorted.map((row) => element("tr", {}, ...columns.map(({ cell }, index) => {
    const made = index ? element("td") : element("th", { scope: "row" });
    made.append(...[cell(row)].flat());
    return made;
  })));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
}

// Rows without a value come last, whichever way.
function order(value, descending) {
  return (a, b) => {
    const [left, right] = [value(a) ?? null, value(b) ?? null];
    if (left === null || right === null) return (left === null) - (right === null);
    const sign = typeof left === "string" ? left.localeCompare(right, "en", { numeric: true }) : left - right;
    return descending ? -sign : sign;
  };
}

function heading({ key, title, note, descendingFirst }, sorting, choose) {
  const cell = element("th", { scope: "col" });
  if (!key) {
    cell.textContent = title;
    return cell;
  }
  const descending = sorting.startsWith("-");
  const arrow = element("span", { textContent: sorting ? (descending ? " \u2193" : " \u2191") : "" });
  arrow.ariaHidden = "true";
  const button = element("button", { className: "sort", type: "button" }, title, arrow, ...(note ? [element("small", { textContent: note })] : []));
  button.dataset.key = key;
  button.addEventListener("click", () => choose((sorting ? !descending : descendingFirst) ? `-${key}` : key));
  if (sorting) cell.ariaSort = descending ? "descending" : "ascending";
  cell.append(button);
  return cell;
}
