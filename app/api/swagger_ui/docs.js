// Shows the document beside this page; no foreign host is asked whether it is valid.
SwaggerUIBundle({ url: "openapi.yaml", dom_id: "#docs", layout: "BaseLayout", deepLinking: true,
  validatorUrl: null, presets: [SwaggerUIBundle.presets.apis] });
