// The API's description, to read and try out.

SwaggerUIBundle({ url: "docs.json", dom_id: "#swagger-ui", deepLinking: true, tryItOutEnabled: true, validatorUrl: null });
