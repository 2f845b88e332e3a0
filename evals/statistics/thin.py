"""When a slice has too few items. The gate asks too, and imports nothing of the asking."""

THIN = 30
"""Items, or clusters where items belong together, under which a slice is thin. After no failure in 30, up to 9.5 % may
still fail (`exact.upper_bound`), and a share may be off by 17 points either way (`intervals.mean_interval`). Such
figures are shown and marked, and decide nothing."""
