"""An adapter's file by one read, and by its form, gives what vLLM's own reading gives, and refuses what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

MODULES = {"q_proj", "down_proj"}


def saved(folder: Path, dtype: str, module: str = "down_proj", seed: int = 5, alpha: float = 8) -> str:
    import torch
    from safetensors.torch import save_file

    folder.mkdir(exist_ok=True)
    random, tensors = torch.Generator().manual_seed(seed), {}
    for name in ("self_attn.q_proj", f"mlp.{module}"):
        for side, shape in (("A", (4, 32)), ("B", (48, 4))):
            numbers = torch.randn(*shape, generator=random).to(getattr(torch, dtype))
            tensors[f"base_model.model.model.layers.1.{name}.lora_{side}.weight"] = numbers
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    said = {"peft_type": "LORA", "r": 4, "lora_alpha": alpha, "target_modules": sorted(MODULES)}
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

    from service.engine.vllm.adapter_file import LoRAOfOneRead

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
    from service.engine.vllm.adapter_file import LoRAOfOneRead

    with pytest.raises(ValueError, match=r"layers\.1\.mlp\.gate_proj"):
        read(LoRAOfOneRead, saved(tmp_path, "float32", "gate_proj"), "float32")


def test_a_folder_without_the_file_is_left_to_vllm_which_refuses_it(tmp_path: Path) -> None:
    from service.engine.vllm.adapter_file import LoRAOfOneRead

    folder = saved(tmp_path, "float32")
    (tmp_path / "adapter_model.safetensors").unlink()
    with pytest.raises(ValueError, match="doesn't contain tensors"):
        read(LoRAOfOneRead, folder, "float32")


def into_memory(folder: str, number: int, dtype: str) -> Any:
    """As vLLM has it once it is in its memory, where the slices of a packed layer are together."""
    from vllm.lora.model_manager import LRUCacheLoRAModelManager

    from service.engine.vllm.adapter_file import LoRAOfOneRead

    memory = LRUCacheLoRAModelManager.__new__(LRUCacheLoRAModelManager)
    memory.modules, memory.is_pooling_model, memory._registered_adapters = {}, False, {}
    memory._enable_mixed_moe_lora_format = False
    attention = "model.layers.1.self_attn"
    memory.packed_modules = {f"{attention}.qkv_proj": [f"{attention}.{name}_proj" for name in "qkv"]}
    model = read(LoRAOfOneRead, folder, dtype)
    model.id = number
    memory.add_adapter(model)
    return model


def asked(folder: str, number: int) -> Any:
    from vllm.lora.request import LoRARequest

    return LoRARequest(f"a{number}", number, folder)


@pytest.fixture
def forms() -> Any:
    from service.engine.vllm.adapter_file import Forms

    return Forms()


def learn(forms: Any, folder: str, dtype: str, change: Callable[[Any], object] = lambda model: None) -> None:
    model = into_memory(folder, 1, dtype)
    change(model)
    forms.learn(asked(folder, 1), model)


def check_same(one: Any, other: Any) -> None:
    import torch

    assert (one.id, one.rank, [*one.loras]) == (other.id, other.rank, [*other.loras])
    for name, layer in other.loras.items():
        mine = one.loras[name]
        assert (type(mine), mine.scaling, mine.module_name) == (type(layer), layer.scaling, layer.module_name)
        for side in ("lora_a", "lora_b"):
            ours, theirs = getattr(mine, side), getattr(layer, side)
            assert isinstance(ours, list) == isinstance(theirs, list)
            for a, b in zip(ours, theirs, strict=True) if isinstance(ours, list) else [(ours, theirs)]:
                assert (a is None) == (b is None)
                assert a is None or (a.dtype == b.dtype and torch.equal(a, b))


@pytest.mark.parametrize(("kept", "served"), [("float16", "float32"), ("float32", "float32"), ("bfloat16", "bfloat16")])
def test_an_adapter_that_was_trained_like_another_is_made_to_the_bit_as_vllm_makes_it(
    kept: str, served: str, tmp_path: Path, forms: Any
) -> None:
    alike = [saved(tmp_path / str(seed), kept, seed=seed, alpha=5.3) for seed in (1, 2)]
    assert forms.made(asked(alike[0], 1)) is None, "nobody knows its form yet"
    learn(forms, alike[0], served)
    for number, folder in ((2, alike[1]), (3, alike[0]), (4, alike[1])):
        check_same(forms.made(asked(folder, number)), into_memory(folder, number, served))


def test_adapters_of_one_form_share_no_memory(tmp_path: Path, forms: Any) -> None:
    folder = saved(tmp_path / "1", "float32")
    learn(forms, folder, "float32")
    one, other = forms.made(asked(folder, 2)), forms.made(asked(folder, 3))
    for layer in one.loras.values():
        for side in layer.lora_b if isinstance(layer.lora_b, list) else [layer.lora_b]:
            if side is not None:
                side.zero_()
    check_same(other, into_memory(folder, 3, "float32"))


def test_another_scale_and_other_modules_are_another_form(tmp_path: Path, forms: Any) -> None:
    learn(forms, saved(tmp_path / "1", "float32"), "float32")
    others = [saved(tmp_path / "2", "float32", alpha=4), saved(tmp_path / "3", "float32", module="up_proj")]
    assert [forms.made(asked(folder, 2)) for folder in others] == [None, None]
    learn(forms, others[0], "float32")
    check_same(forms.made(asked(others[0], 2)), into_memory(others[0], 2, "float32"))


def test_a_form_that_would_give_other_numbers_than_vllm_is_not_kept(tmp_path: Path, forms: Any) -> None:
    def change(model: Any) -> None:
        model.loras["model.layers.1.mlp.down_proj"].lora_b += 1

    folder = saved(tmp_path / "1", "float16")
    learn(forms, folder, "float32", change)
    assert forms.made(asked(folder, 2)) is None


def test_a_layer_of_a_kind_that_is_not_known_gives_no_form(tmp_path: Path, forms: Any) -> None:
    def change(model: Any) -> None:
        name = "model.layers.1.mlp.down_proj"
        model.loras[name] = SimpleNamespace(**vars(model.loras[name]))

    folder = saved(tmp_path / "1", "float16")
    learn(forms, folder, "float32", change)
    assert forms.made(asked(folder, 2)) is None


def test_a_file_that_ends_too_early_is_not_made_by_its_form(tmp_path: Path, forms: Any) -> None:
    folder = saved(tmp_path / "1", "float16")
    learn(forms, folder, "float32")
    file = tmp_path / "1" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-2])
    assert forms.made(asked(folder, 2)) is None


def test_of_many_forms_those_that_were_used_last_are_kept(tmp_path: Path) -> None:
    from service.engine.vllm.adapter_file import Forms

    forms = Forms(most=2)
    one, two, three = (saved(tmp_path / str(alpha), "float32", alpha=alpha) for alpha in (1, 2, 3))
    learn(forms, one, "float32")
    learn(forms, two, "float32")
    assert forms.made(asked(one, 2)) is not None
    learn(forms, three, "float32")
    assert [forms.made(asked(folder, 2)) is not None for folder in (one, two, three)] == [True, False, True]


def test_tensors_of_several_formats_are_left_to_vllm(tmp_path: Path, forms: Any) -> None:
    import torch
    from safetensors.torch import load_file, save_file
    from vllm.lora.lora_model import LoRAModel

    from service.engine.vllm.adapter_file import LoRAOfOneRead

    folder = saved(tmp_path / "1", "float32")
    file = tmp_path / "1" / "adapter_model.safetensors"
    tensors = load_file(file)
    save_file({name: t.to(torch.float16) if "lora_A" in name else t for name, t in tensors.items()}, file)
    ours, theirs = read(LoRAOfOneRead, folder, "float32"), read(LoRAModel, folder, "float32")
    check_same(ours, theirs)
    learn(forms, folder, "float32")
    assert forms.made(asked(folder, 2)) is None
