"""The OpenAI surface: routes, requests and answers in OpenAI's shapes, and the errors in between."""
