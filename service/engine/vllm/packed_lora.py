"""LoRA over packed weights on a CPU.

vLLM 0.32 puts an adapter's tensors on the device of its layer's weight. On a CPU, oneDNN keeps integer weights in a
form of its own and the layer's `weight` becomes None, so that every base in 8 bits ended the engine's start with
"'NoneType' object has no attribute 'device'". On a CPU there is one device, and no weight needs to be asked.
"""

from __future__ import annotations


def register() -> None:
    """Let vLLM of this process place LoRA tensors without asking the weight. For CPUs only."""
    import torch
    from vllm.lora.layers import base_linear

    base_linear._get_lora_device = lambda base_layer: torch.device("cpu")
