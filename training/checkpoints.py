"""What lets a run go on after it was stopped at any moment, and end in the weights of a run that was not.

A checkpoint counts once its mark is written, which is the last thing: a save that was cut short is thrown away. It
holds weights, optimiser, schedule and the generators' states; the order of rows follows from seed and epoch alone
(`exact.EpochOrder`), so it holds for another number of processes too.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from training import processes, sharding

_MARK = "complete"
FOLDER = "checkpoints"
"""Where they lie in a run's folder."""
_STATE = "trainer_state.json"


def newest(folder: Path, *, fsdp: bool = False) -> Path | None:
    """The last whole checkpoint of those in `folder`, where there is one. Those that are not whole are removed.

    Raises `InvalidConfig` for one of weights that were shared out by `fsdp`, where they are not to be now, or were not.
    """
    checkpoint = processes.from_first(partial(_newest, folder))
    if checkpoint is not None:
        sharding.require_same(checkpoint, fsdp)
    return checkpoint


def train(trainer: Any, stopped_at: Path | None, steps: int) -> None:
    """Have a trainer of transformers' train, on from the checkpoint where there is one, for so many steps in all.

    Afterwards its model has the best weights. A run that had come to its end, also by early stopping or by time, does
    not train on: transformers forgets that it was to end.
    """
    if stopped_at is not None:
        state = _state_here(stopped_at)
        control = state["stateful_callbacks"].get("TrainerControl", {}).get("args", {})
        if state["global_step"] >= steps or control.get("should_training_stop"):
            trainer.args.num_train_epochs, trainer.args.max_steps = 0, -1
        # In several processes nothing tells the order that it goes on in a later epoch than the first: accelerate
        # (`DataLoaderShard.set_epoch`) does not look so deep into batch samplers that leave some batches out.
        trainer.order.set_epoch(int(state["epoch"]))
    trainer.train(resume_from_checkpoint=None if stopped_at is None else str(stopped_at))


def saving(seconds: float, steps_of_an_epoch: int, tell: Callable[[int, Path], None]) -> Any:
    """A callback that marks what is saved and tells of it, and saves inside an epoch too, so many seconds after the
    last time.

    Then it removes what is no longer needed: all but the newest checkpoint and the best.
    """
    from transformers import TrainerCallback

    class Saving(TrainerCallback):  # type: ignore[misc]
        saved = time.monotonic()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            # After an epoch's last step comes its evaluation, and then a save: one before it would miss that.
            inside = state.global_step % steps_of_an_epoch and state.global_step < state.max_steps
            if inside and processes.from_first(lambda: time.monotonic() - self.saved >= seconds):
                control.should_save = True

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            folder = Path(args.output_dir)
            now = folder / f"checkpoint-{state.global_step}"
            processes.wait()  # each keeps the state of its own generators
            if processes.is_first():
                (now / _MARK).touch()
                tell(state.global_step, now)
                for other in folder.glob("checkpoint-*"):
                    if other not in (now, Path(state.best_model_checkpoint or now)):
                        _remove(other)
            self.saved = time.monotonic()

    return Saving()


def lasting(folder: Path) -> list[Path]:
    """Of those in `folder`, the newest whole one and the best that it knows: all that a run goes on from."""
    whole = sorted(filter(_is_whole, folder.glob("checkpoint-*")), key=step_of)
    if not whole:
        return []
    best = _state(whole[-1]).get("best_model_checkpoint") or ""
    return [path for path in whole if path == whole[-1] or path.name == Path(best).name]


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))


def _is_whole(checkpoint: Path) -> bool:
    return (checkpoint / _MARK).is_file()


def _newest(folder: Path) -> Path | None:
    for path in folder.glob("checkpoint-*"):
        if not _is_whole(path):
            shutil.rmtree(path)
    return max(folder.glob("checkpoint-*"), key=step_of, default=None)


def _state(checkpoint: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
    return state


def _state_here(checkpoint: Path) -> dict[str, Any]:
    """It names the best checkpoint by its path, which is another since the run's folder was moved: it is put right, or
    transformers would end without the best weights, in silence."""
    state = _state(checkpoint)
    best = state.get("best_model_checkpoint")
    if best and (here := str(checkpoint.with_name(Path(best).name))) != best:
        state["best_model_checkpoint"] = here
        part = checkpoint / f"{_STATE}.part"
        part.write_text(json.dumps(state, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        part.replace(checkpoint / _STATE)
    return state


def _remove(checkpoint: Path) -> None:
    """Its mark first: one that is removed in part is none."""
    (checkpoint / _MARK).unlink(missing_ok=True)
    shutil.rmtree(checkpoint)
