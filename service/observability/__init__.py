"""What is seen from outside: metrics, logs, traces, and the record of each request that they tell of."""
