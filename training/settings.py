"""The process-wide settings that a run needs of torch and its friends, put back as they were when it ends."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from training import libraries, processes, sharding


def threads() -> int:
    """As many as OMP_NUM_THREADS says, otherwise one for each core that this process may use.

    Processes that train together share the cores out, whatever it says: torchrun sets it to 1 unasked.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if processes.count() == 1 and wanted.isdecimal() and int(wanted):
        return int(wanted)
    return max(1, len(os.sched_getaffinity(0)) // processes.on_this_machine())


@contextmanager
def run_settings() -> Iterator[None]:
    """Its threads (`threads`), no progress bars but ours, nothing reported to anyone.

    Off a GPU, TRL puts every position of a row through the output layer, questions and padding too, so that a
    compiler sees few shapes. Nothing is compiled here, and scoring the learnt positions alone, as it does on a GPU,
    gives the same loss in less time.

    On a GPU, cuDNN's attention plans for each length of a line anew. Training meets new ones in nearly every step, and
    the other kernels, which need no plan, are as fast once it is made.

    The trainer seeds Python's, numpy's and torch's generators; they too go on afterwards as if nothing had been.
    """
    libraries.load()
    import numpy
    import torch
    from accelerate.state import GradientState
    from huggingface_hub import constants
    from transformers.utils import logging
    from trl.trainer import utils as trl_utils

    before, bars, telemetry = (
        torch.get_num_threads(),
        logging.is_progress_bar_enabled(),
        constants.HF_HUB_DISABLE_TELEMETRY,
    )
    planned = torch.backends.cuda.cudnn_sdp_enabled()
    states = random.getstate(), numpy.random.get_state(), torch.get_rng_state()
    GradientState._reset_state()  # a run that was stopped inside a step leaves where it was to the next of this process
    torch.set_num_threads(threads())
    logging.disable_progress_bar()
    torch.backends.cuda.enable_cudnn_sdp(False)
    # TRL tells its makers of every trainer that is built.
    constants.HF_HUB_DISABLE_TELEMETRY = True
    try:
        with patch.object(trl_utils, "_use_triton", lambda device: True):
            yield
    finally:
        torch.set_num_threads(before)
        torch.backends.cuda.enable_cudnn_sdp(planned)
        if bars:
            logging.enable_progress_bar()
        constants.HF_HUB_DISABLE_TELEMETRY = telemetry
        random.setstate(states[0])
        numpy.random.set_state(states[1])
        torch.set_rng_state(states[2])
        os.environ.pop(sharding.ACCELERATES, None)
