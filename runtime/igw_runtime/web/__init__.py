"""HTTP in and out: admission, routes, problems; nothing here touches an image or a model."""
