"""All that touches vLLM, but for the kernels that its workers run on a CPU.

`import vllm` means the library here too: imports are absolute, and no file of this folder is run as a program.
"""
