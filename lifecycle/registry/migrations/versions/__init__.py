"""One file for each change of the tables, in the order of `down_revision`. A released one never changes."""
