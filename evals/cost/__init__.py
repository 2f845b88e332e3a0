"""What arms take and cost. `prices.py` is what a team writes, `costs.py` the sums, `tradeoff.py` what follows."""
