"""`dabt doctor`: what is wrong with a machine, a home and what it names, and how to cure it. See `checkup.py`."""
