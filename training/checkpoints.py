"""What lets a run go on after it was stopped at any moment, and end in the weights of a run that was not.

A checkpoint counts once its mark is written, which is the last thing: a save that was cut short is thrown away. It
holds weights, optimiser, schedule and the generators' states; the order of rows follows from seed and epoch alone
(`exact.EpochOrder`).
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

_MARK = "complete"
KEPT = 2
"""Checkpoints besides the best. The newest is not marked yet when the ones before it are removed."""


def newest(folder: Path) -> Path | None:
    """The last whole checkpoint of those in `folder`, where there is one. Those that are not whole are removed."""
    whole: dict[int, Path] = {}
    for path in folder.glob("checkpoint-*"):
        if (path / _MARK).is_file():
            whole[int(path.name.removeprefix("checkpoint-"))] = path
        else:
            shutil.rmtree(path)
    return whole[max(whole)] if whole else None


def saving(seconds: float, steps_of_an_epoch: int) -> Any:
    """A callback that marks what is saved, and saves inside an epoch too, so many seconds after the last time."""
    from transformers import TrainerCallback

    class Saving(TrainerCallback):  # type: ignore[misc]
        saved = time.monotonic()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            # After an epoch's last step comes its evaluation, and then a save: one before it would miss that.
            inside = state.global_step % steps_of_an_epoch and state.global_step < state.max_steps
            if inside and time.monotonic() - self.saved >= seconds:
                control.should_save = True

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / _MARK).touch()
            self.saved = time.monotonic()

    return Saving()
