// Open the page of a report.

import { api, getKey } from "./api.js";
import { failure, show } from "./dom.js";

// A link cannot send an API key, so with a key the report is fetched and shown from memory.
export async function openReport(event, path) {
  if (!getKey()) return;
  event.preventDefault();
  const tab = window.open("", "_blank");
  try {
    const report = await (await api(path)).blob();
    tab.location = URL.createObjectURL(report);
  } catch (error) {
    tab.close();
    show("audit-error", failure(error));
  }
}
