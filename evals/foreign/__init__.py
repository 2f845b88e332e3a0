"""Results of other tools as reports that can be listed, shown and compared. `taking.py` keeps what the others read.

They open no gate: nothing binds them to a version that serves, and the registry has none of them.
"""
