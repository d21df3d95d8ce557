// The API by its own description, to read and to try out.

SwaggerUIBundle({ url: "docs.json", dom_id: "#swagger-ui", deepLinking: true, tryItOutEnabled: true, validatorUrl: null });
