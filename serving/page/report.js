// Links to the pages of reports.

import { api, getKey } from "./api.js";
import { element, failure, show } from "./dom.js";

// Where the report of an audit is found, as a page and as JSON.
export const reportOf = (id) => ({ report_html: `/audits/${id}/report.html`, report: `/audits/${id}/report` });

export function reportLink(links, about, text = "Open report") {
  const link = element("a", { href: links.report_html.slice(1), textContent: text });
  link.setAttribute("aria-label", `${text} of ${about}`);
  link.addEventListener("click", (event) => openPage(event, links.report_html, links.report));
  return link;
}

// A link cannot send an API key, so with a key the page, and the JSON that it may link to, are fetched and shown from
// memory.
export async function openPage(event, path, beside = null) {
  if (!getKey()) return;
  event.preventDefault();
  const tab = window.open("", "_blank");
  try {
    const [page, report] = await Promise.all([api(path), beside && api(beside)]);
    const address = report && URL.createObjectURL(await report.blob());
    const html = (await page.text()).replace('href="report"', `href="${address}"`);
    tab.location = URL.createObjectURL(new Blob([html], { type: page.headers.get("Content-Type") }));
  } catch (error) {
    tab.close();
    show("audit-error", failure(error));
  }
}
