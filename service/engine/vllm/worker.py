"""What the service asks of vLLM's workers, in the processes where they run."""

from __future__ import annotations

import logging
from typing import Any


class WorkerExtension:
    """Mixed into vLLM's worker (`--worker-extension-cls`); its methods are called by `collective_rpc`."""

    model_runner: Any
    parallel_config: Any

    def dabt_lora_kernel(self) -> str:
        """The class that computes LoRA in this worker, as `module.Class`."""
        wrapper = next(iter(self.model_runner.lora_manager._adapter_manager.punica_wrapper_mapping.values()))
        return f"{type(wrapper).__module__}.{type(wrapper).__qualname__}"

    def dabt_alive(self) -> None:
        """Answers when this worker takes calls."""

    def dabt_device(self) -> dict[str, Any]:
        """What this worker computes on."""
        from service.engine.vllm.facts import device

        return device()

    def dabt_keep_adapters(self) -> None:
        """From now on adapters are kept as `adapter_memory.py` does."""
        from service.engine.vllm.adapter_memory import AdapterMemory

        AdapterMemory.take_over(self.model_runner.lora_manager)

    def dabt_scored_rows(self) -> None:
        """From now on a CPU computes log-probabilities of prompts as `scored_rows.py` does."""
        from vllm.platforms import current_platform

        if current_platform.is_cpu():
            from service.engine.vllm import scored_rows

            scored_rows.take_over(self.model_runner)

    def dabt_attention(self) -> str:
        """From now on rows of one new token take the kernel of `cpu/attention.py`, where its name is returned."""
        from vllm.platforms import current_platform

        if not current_platform.is_cpu():
            return ""
        try:
            from service.engine.cpu import attention as kernel
            from service.engine.vllm.attention import take_over
        except (ImportError, OSError, RuntimeError):
            logging.getLogger(__name__).warning("attention is computed by vLLM alone", exc_info=True)
            return ""
        return kernel.__name__ if take_over(self.model_runner) else ""

    def dabt_few_rows(self) -> str:
        """From now on few rows take the kernel of `cpu/layers.py`. What of it is taken; empty for nothing."""
        from vllm.platforms import current_platform

        if not current_platform.is_cpu() or self.parallel_config.world_size > 1:
            return ""
        try:
            from service.engine.cpu import layers
        except (ImportError, OSError, RuntimeError):
            # Without numba, torch's OpenMP or a place for compiled code all is computed as vLLM has it.
            logging.getLogger(__name__).warning("few rows are computed as many are", exc_info=True)
            return ""
        what = layers.take_over(self.model_runner.get_model())
        return "" if what == "nothing" else f"{layers.__name__}: {what}"
