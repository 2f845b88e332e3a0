"""The weights of a run shared out among its processes (FSDP2, Zhao et al. 2023, arXiv 2304.11277).

Each process holds a part of every weight, of its gradient and of the optimiser, and sees a layer's weights whole only
while it computes that layer. What a run leaves is gathered into one folder again. Read `processes.py` first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lifecycle.errors import InvalidConfig, Problem
from training import processes
from training.optimisation import OptimisationSettings

PLACE = "optimisation.fsdp"
_SAVED = "pytorch_model_fsdp.bin"
"""What a checkpoint of shared-out weights has, and no other."""
ACCELERATES = "ACCELERATE_USE_FSDP"
"""Accelerate sets it for a run that shares weights out, and would share out those of the next run too."""

_NO = ("", "no", "false", "0", "1")
_SAID_HERE: Mapping[str, str] = {
    ACCELERATES: f"write {PLACE}: true",
    "ACCELERATE_MIXED_PRECISION": "write optimisation.precision: bfloat16",
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "write optimisation.accumulation",
    "ACCELERATE_GRADIENT_CLIPPING": "write optimisation.max_grad_norm",
    "ACCELERATE_DYNAMO_BACKEND": "nothing is compiled here",
    "ACCELERATE_USE_DEEPSPEED": f"write {PLACE}: true",
    "ACCELERATE_USE_MEGATRON_LM": f"write {PLACE}: true",
    "ACCELERATE_USE_PARALLELISM_CONFIG": f"write {PLACE}: true",
}
"""What would decide the result beside the configuration: each with what to write instead."""


def arguments(fsdp: bool) -> dict[str, Any]:
    """What a trainer of transformers' is told."""
    return {"fsdp": True, "fsdp_config": {"version": 2, "state_dict_type": "FULL_STATE_DICT"}} if fsdp else {}


def require_possible(how: OptimisationSettings) -> None:
    """Raises `InvalidConfig` where these processes cannot share the work, or were started to share it otherwise."""
    problems = list(_of_launcher())
    if how.fsdp and processes.count() == 1:
        cure = "start several, as `torchrun --nproc-per-node 2 -m dabt train FILE`, or leave it out"
        problems.append(Problem(PLACE, "this run is one process, with nobody to share the weights with", cure))
    if problems:
        raise InvalidConfig("the processes cannot share the work", problems)
    processes.require_shares(how.batch_size)


def _of_launcher() -> Iterator[Problem]:
    """What `accelerate launch`, or its configuration file, says in the environment and a run is to say itself."""
    for name, value in sorted(os.environ.items()):
        if name in _SAID_HERE and value.lower() not in _NO:
            yield Problem(name, f"is {value}, which accelerate launch sets", f"launch without it; {_SAID_HERE[name]}")


def require_same(checkpoint: Path, fsdp: bool) -> None:
    """Raises `InvalidConfig` for a checkpoint that was made the other way: its optimiser is kept otherwise."""
    if (checkpoint / _SAVED).is_file() != fsdp:
        made = "whole weights" if fsdp else "shared-out weights"
        cure = f"write {str(not fsdp).lower()} to go on from it, or train anew by --force"
        problem = Problem(PLACE, f"{checkpoint.name} was made with {made}", cure)
        raise InvalidConfig("the run cannot go on from its checkpoint", [problem])


def on_processors_too(trainer: Any) -> None:
    """Accelerate shares weights out among GPUs, and on processors forgets in silence that it was to."""
    from accelerate import DistributedType, FullyShardedDataParallelPlugin, PartialState

    if trainer.args.fsdp and not trainer.is_fsdp_enabled:
        state = trainer.accelerator.state
        state.fsdp_plugin = FullyShardedDataParallelPlugin(**trainer.args.fsdp_plugin_args)
        state.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP
        trainer.is_fsdp_enabled = True


def is_shared_out(model: Any) -> bool:
    """Whether all processes must compute `model` together."""
    from torch.distributed.fsdp import FSDPModule

    return isinstance(model, FSDPModule)


def make_whole(model: Any) -> None:
    """Plain weights in place of parts, in the first process's memory. All must ask; the others keep nothing."""
    import torch
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor

    parts = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for module in parts:
        module.reshard()
    made: dict[int, Any] = {}  # one weight may stand in two places
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if isinstance(parameter, DTensor):
                if id(parameter) not in made:
                    full = parameter.full_tensor().detach()
                    kept = full.cpu() if processes.is_first() else full.to("meta")
                    made[id(parameter)] = torch.nn.Parameter(kept, requires_grad=parameter.requires_grad)
                module._parameters[name] = made[id(parameter)]
    for module in parts:
        module.__class__ = type(module).__mro__[2]  # torch puts a class of its own before FSDPModule and the model's
