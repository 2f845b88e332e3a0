"""Weights in 8 bits on a CPU (`--quantization int8`), made of the base's own while it is loaded.

vLLM has kernels for 8-bit products on CPUs, but takes only a base whose folder holds such weights. Here each output
channel's weights are rounded to 8 bits with a scale of their own, as compressed-tensors stores them (W8A8: symmetric,
per channel, activations per token as they come), and handed to vLLM's kernel. Embeddings and the head stay as they are,
and so do adapters, which are computed beside the product.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from vllm.model_executor.layers import quantization
from vllm.model_executor.layers.quantization.base_config import QuantizationConfig

from service.engine.cpu.weights import Room, keep_bytes
from service.engine.vllm.flags import INT8

_LARGEST = 127
_ROOM = Room()


class Int8Config(QuantizationConfig):  # type: ignore[misc]
    """What vLLM asks of a scheme. It goes to the engine's process by pickle."""

    def get_name(self) -> Any:
        return INT8

    def get_supported_act_dtypes(self) -> list[torch.dtype]:
        return [torch.bfloat16]

    @classmethod
    def get_min_capability(cls) -> int:
        return 0

    @staticmethod
    def get_config_filenames() -> list[str]:
        return []

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Int8Config:
        return cls()

    def get_quant_method(self, layer: torch.nn.Module, prefix: str) -> Any:
        from vllm.model_executor.layers.linear import LinearBase

        return _product()() if isinstance(layer, LinearBase) else None


def register() -> None:
    """Make `--quantization int8` known to vLLM. Called in each of its processes, on a CPU only."""
    if INT8 not in quantization.QUANTIZATION_METHODS:
        quantization.register_quantization_config(INT8)(Int8Config)


def rounded(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """[out, in] → its numbers in 8 bits, and the scale of each row, [out, 1] in float32."""
    wide = weight.float()
    scale = wide.abs().amax(dim=1, keepdim=True) / _LARGEST
    scale[scale == 0] = 1.0  # a row of zeros
    return (wide / scale).round().clamp(-_LARGEST, _LARGEST).to(torch.int8), scale


@cache
def _product() -> Any:
    """The class of a layer's product. vLLM's layers are imported when the first is made, and not where it is named."""
    from vllm.model_executor.kernels.linear import init_int8_linear_kernel
    from vllm.model_executor.layers.linear import UnquantizedLinearMethod

    class Int8Product(UnquantizedLinearMethod):  # type: ignore[misc]
        """Weights are loaded as they are, then rounded."""

        def process_weights_after_loading(self, layer: Any) -> None:
            weight, scale = rounded(layer.weight.data)
            keep_bytes(layer, weight, scale, _ROOM)  # for steps of few rows, which wait for the memory
            layer.weight = torch.nn.Parameter(weight, requires_grad=False)
            layer.weight_scale = torch.nn.Parameter(scale, requires_grad=False)
            layer.input_scale = layer.input_zero_point = layer.azp_adj = None
            layer.logical_widths = getattr(layer, "output_partition_sizes", [len(weight)])
            self.kernel = init_int8_linear_kernel(
                is_channelwise=True, is_static_input_scheme=False, input_symmetric=True, module_name=INT8
            )
            self.kernel.process_weights_after_loading(layer)
            if layer.weight is None:  # it lies inside the kernel; adapters ask a layer's weight where it is
                layer.weight = torch.nn.Parameter(torch.empty(0, dtype=torch.int8), requires_grad=False)

        def apply(self, layer: Any, x: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
            return self.kernel.apply_weights(layer, x, bias)

    return Int8Product
