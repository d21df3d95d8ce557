// The API's description, to read and try out.

SwaggerUIBundle({ url: "docs.json", dom_id: "#swagger-ui", deepLinking: true, tryItOutEnabled: true, validatorUrl: null });

// The description cannot fill in a file, so each field for a picture gets the one of the examples when it appears.
const filled = new WeakSet();
const picture = fetch("page/examples/ship.png").then((answer) => answer.blob());

new MutationObserver(async () => {
  const file = new File([await picture], "ship.png", { type: "image/png" });
  for (const field of document.querySelectorAll(".opblock-section-request-body input[type=file]")) {
    const kind = field.closest(".opblock-section-request-body").querySelector("select").value;
    if (filled.has(field) || kind === "application/octet-stream") continue; // which takes no picture
    filled.add(field);
    const files = new DataTransfer();
    files.items.add(file);
    field.files = files.files;
    field.dispatchEvent(new Event("change", { bubbles: true }));
  }
}).observe(document.getElementById("swagger-ui"), { childList: true, subtree: true });
