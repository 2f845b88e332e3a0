"""Grammars are compiled on trial, in a process that may be killed, before the engine is given them."""
