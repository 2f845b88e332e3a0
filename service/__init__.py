"""Serves versions over one base model: FastAPI in front, a real vLLM engine behind, adapters swapped per request.

Read `serving.py` first: it is the way of one request, and every other module is one step of it.
"""
