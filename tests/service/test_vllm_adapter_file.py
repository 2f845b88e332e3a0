"""An adapter's file by one read gives what vLLM's own reading gives, and refuses what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

MODULES = {"q_proj", "down_proj"}


def saved(folder: Path, dtype: str, module: str = "down_proj") -> str:
    import torch
    from safetensors.torch import save_file

    random, tensors = torch.Generator().manual_seed(5), {}
    for name in ("self_attn.q_proj", f"mlp.{module}"):
        for side, shape in (("A", (4, 32)), ("B", (48, 4))):
            numbers = torch.randn(*shape, generator=random).to(getattr(torch, dtype))
            tensors[f"base_model.model.model.layers.1.{name}.lora_{side}.weight"] = numbers
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    said = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": sorted(MODULES)}
    (folder / "adapter_config.json").write_text(json.dumps(said))
    return str(folder)


def read(kind: Any, folder: str, dtype: str) -> Any:
    import torch
    from vllm.lora.peft_helper import PEFTHelper

    helper = PEFTHelper.from_local_dir(folder, 64)
    given = {"lora_model_id": 7, "device": "cpu", "dtype": getattr(torch, dtype), "skip_prefixes": None}
    return kind.from_local_checkpoint(folder, MODULES, helper, moe_ep_spec=None, weights_mapper=None, **given)


@pytest.mark.parametrize(("kept", "served"), [("float16", "float32"), ("float32", "float32"), ("bfloat16", "bfloat16")])
def test_one_read_gives_the_same_numbers_which_belong_to_this_adapter_alone(
    kept: str, served: str, tmp_path: Path
) -> None:
    import torch
    from vllm.lora.lora_model import LoRAModel

    from service.engine.vllm_adapter_file import LoRAOfOneRead

    folder = saved(tmp_path, kept)
    ours, theirs = read(LoRAOfOneRead, folder, served), read(LoRAModel, folder, served)
    assert (ours.id, ours.rank, ours.loras.keys()) == (theirs.id, theirs.rank, theirs.loras.keys())
    for name, lora in theirs.loras.items():
        assert ours.loras[name].scaling == lora.scaling == 2
        for side in ("lora_a", "lora_b"):
            mine, other = getattr(ours.loras[name], side), getattr(lora, side)
            assert mine.dtype == other.dtype
            assert torch.equal(mine, other)
    for lora in ours.loras.values():
        lora.optimize()  # as vLLM does: in place
    again = read(LoRAOfOneRead, folder, served).loras
    assert all(torch.equal(again[name].lora_b * 2, lora.lora_b) for name, lora in ours.loras.items())


def test_a_module_that_the_engine_does_not_adapt_is_refused_by_name(tmp_path: Path) -> None:
    from service.engine.vllm_adapter_file import LoRAOfOneRead

    with pytest.raises(ValueError, match=r"layers\.1\.mlp\.gate_proj"):
        read(LoRAOfOneRead, saved(tmp_path, "float32", "gate_proj"), "float32")


def test_a_folder_without_the_file_is_left_to_vllm_which_refuses_it(tmp_path: Path) -> None:
    from service.engine.vllm_adapter_file import LoRAOfOneRead

    folder = saved(tmp_path, "float32")
    (tmp_path / "adapter_model.safetensors").unlink()
    with pytest.raises(ValueError, match="doesn't contain tensors"):
        read(LoRAOfOneRead, folder, "float32")
