"""The shape of a LoRA, and whether a base can follow it and, for methods that leave an adapter, the servers too."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from lifecycle.errors import Problem
from lifecycle.models.peft_config import PeftConfig
from lifecycle.models.preflight import SERVED_MODULES, SERVED_RANKS, refusals
from lifecycle.models.tensors import TensorInfo
from lifecycle.version import Frozen

_PLACE = "method.target_modules"


class LowRank(Frozen, allow_inf_nan=False):
    """A delta of low rank beside linear layers (LoRA: Hu et al. 2021, arXiv 2106.09685), of any rank and modules.

    For methods that merge it when it is saved, so that no server has to follow its shape.
    """

    r: int = Field(default=16, ge=1)
    alpha: float = Field(default=32.0, gt=0.0)
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    rslora: bool = True
    """Scale by alpha / sqrt(r) rather than alpha / r (arXiv 2312.03732), so that a higher rank is not scaled away."""
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"

    @property
    def scale(self) -> float:
        """What B·A is multiplied by."""
        return self.alpha / (math.sqrt(self.r) if self.rslora else self.r)

    def peft(self, **more: Any) -> Any:
        """PEFT's configuration, with nothing that vLLM would not serve as it was trained; `more` is added to it."""
        from peft import LoraConfig

        wanted = self.target_modules
        settings = {
            "r": self.r,
            "lora_alpha": self.alpha,
            "lora_dropout": self.dropout,
            "use_rslora": self.rslora,
            "target_modules": wanted if isinstance(wanted, str) else list(wanted),
            "bias": "none",
            "task_type": "CAUSAL_LM",
        }
        return LoraConfig(**settings | more)

    def unmakable(self, base: Path, *, classifies: bool = False, place: str = "method") -> list[Problem]:
        """Why PEFT can make no such delta over the model folder `base`; empty when it can.

        `classifies` is for a base with a head; `place` is where these settings stand.
        """
        cure = "name modules that it has"
        try:
            over = _over_meta(self.peft(task_type="SEQ_CLS" if classifies else "CAUSAL_LM"), base, classifies)
        except (ValueError, KeyError, ImportError, OSError) as error:
            lines = str(error).splitlines() or [type(error).__name__]
            fault = f"PEFT can make no adapter over this base: {lines[0]}"
            return [Problem(f"{place}.target_modules", fault, cure)]
        if absent := self._absent(name for name, _ in over.named_parameters()):
            return [Problem(f"{place}.target_modules", f"the base has no {', '.join(absent)}", cure)]
        return []

    def _absent(self, tensors: Iterable[str]) -> list[str]:
        """Modules that were named and that the base does not have: PEFT says nothing of them."""
        named = self.target_modules if isinstance(self.target_modules, tuple) else ()
        adapted = {name.partition(".lora_A.")[0] for name in tensors if ".lora_A." in name}
        return sorted(one for one in set(named) if not any(f".{name}".endswith(f".{one}") for name in adapted))


class LoraShape(LowRank):
    """The shape of an adapter, as servers take it."""

    r: int = 16
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the saved weights. The server casts them to the base's own type."""

    @field_validator("r")
    @classmethod
    def _served_rank(cls, r: int) -> int:
        if r not in SERVED_RANKS:
            raise ValueError(
                f"a server's adapter slots have one of the ranks {', '.join(map(str, SERVED_RANKS))}; "
                f"{r} would take the place of the next of them and give less"
            )
        return r

    @field_validator("target_modules")
    @classmethod
    def _served_targets(cls, targets: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(targets, tuple):
            if not targets:
                raise ValueError("no module is named; write all-linear, or names such as [q_proj, v_proj]")
            if unserved := sorted(set(targets) - set(SERVED_MODULES)):
                raise ValueError(
                    f"the server adapts the linear projections only, not {', '.join(unserved)}; "
                    f"choose among {', '.join(SERVED_MODULES)}, or write all-linear"
                )
        return targets

    def misfits(self, base: Path, max_rank: int) -> list[Problem]:
        """What preflight would refuse of the adapter that PEFT makes over the model folder `base`.

        PEFT makes it here too, on the meta device: with names and shapes, and without a byte of weights.
        """
        if self.r > max_rank:
            fault = f"{self.r} is more than {max_rank}, the servers' --max-lora-rank"
            return [Problem("method.r", fault, "lower it, or raise the servers'")]
        try:
            config, tensors = self._unmade(base)
        except (ValueError, KeyError, ImportError, OSError) as error:
            lines = str(error).splitlines() or [type(error).__name__]
            return [Problem(_PLACE, f"PEFT can make no adapter over this base: {lines[0]}", "name modules that it has")]
        if config is None:
            fault = "the base keeps its layers transposed (Conv1D, as GPT-2 does), which no server adapts"
            return [Problem("base", fault, "write method: merged_lora, or method: full")]
        if absent := self._absent(tensors):
            fault = f"the base has no {', '.join(absent)}"
            return [Problem(_PLACE, fault, f"{', '.join(SERVED_MODULES)}, or all-linear")]
        return [
            Problem(_PLACE, f"{refused.place} {refused.fault}", refused.cure)
            for refused in refusals(config, tensors, base, max_rank=max_rank)
        ]

    def _unmade(self, base: Path) -> tuple[PeftConfig | None, dict[str, TensorInfo]]:
        """The adapter's configuration and tensors; None for a base whose layers are transposed."""
        from peft import get_peft_model_state_dict

        model = _over_meta(self.peft(), base)
        made = model.peft_config["default"]
        if made.fan_in_fan_out:
            return None, {}
        config = PeftConfig(
            r=self.r,
            lora_alpha=self.alpha,
            use_rslora=self.rslora,
            target_modules=tuple(sorted(made.target_modules)),
        )
        tensors = {
            name: TensorInfo(name=name, dtype="F32", shape=tuple(tensor.shape), start=0, end=0)
            for name, tensor in get_peft_model_state_dict(model).items()
        }
        return config, tensors


def _over_meta(config: Any, base: Path, classifies: bool = False) -> Any:
    """PEFT's adapter over the base, with names and shapes alone."""
    import torch
    from peft import get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    kind = AutoModelForSequenceClassification if classifies else AutoModelForCausalLM
    # PEFT warns of what is refused by the callers.
    with torch.device("meta"), warnings.catch_warnings(action="ignore"):
        # By its name, or the checkpoint's becomes the process's default while this lasts, for other threads too.
        return get_peft_model(kind.from_config(AutoConfig.from_pretrained(base), dtype=torch.float32), config)
