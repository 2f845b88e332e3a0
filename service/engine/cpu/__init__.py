"""What vLLM's workers compute with on a CPU in the place of vLLM's own: the kernels, and how they get there."""
