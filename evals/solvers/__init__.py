"""How a version is asked. `solver.py` is the seam, `table.py` finds solvers by their names."""
