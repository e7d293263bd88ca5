"use strict";

// Nothing of the page is sent to a validator, and no token is kept beyond the page.
const docs = document.getElementById("docs");
window.ui = SwaggerUIBundle({
  domNode: docs,
  url: docs.dataset.document,
  deepLinking: true,
  displayRequestDuration: true,
  docExpansion: "list",
  filter: true,
  persistAuthorization: false,
  tryItOutEnabled: true,
  validatorUrl: "none",
});
