"""The engine behind one interface: vLLM, a fake one for tests, and the life of its process."""
