"""Past one machine: which engine answers a request."""
