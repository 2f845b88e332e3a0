"""What an alias's policy does with live requests: shares, canaries, shadows."""
