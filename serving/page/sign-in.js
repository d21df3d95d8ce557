// Signing in with an API key, where the server asks for one, and out.

import { getKey, setKey } from "./api.js";
import { $, failure, show } from "./dom.js";

// Show the panel and nothing else; a key that the server did not take is forgotten, and `error` says why.
export function ask(error) {
  const refused = getKey() !== "";
  setKey("");
  $("sign-in").hidden = false;
  $("content").hidden = $("sign-out").hidden = true;
  show("model");
  $("key").setAttribute("aria-invalid", refused);
  show("sign-in-error", ...(refused ? [failure(error)] : []));
  $("key").focus();
  $("key").select();
}

export function done() {
  const asked = !$("sign-in").hidden;
  $("sign-in").hidden = true;
  $("key").value = ""; // it is in the storage now
  $("content").hidden = false;
  $("sign-out").hidden = !getKey();
  if (asked) $("predict-title").focus(); // the first of what has appeared
}

export function listen(begin) {
  $("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    setKey($("key").value.trim());
    begin();
  });
  $("sign-out").addEventListener("click", () => {
    setKey("");
    location.reload(); // which forgets all that the key has shown, too
  });
}
