"""The process-wide settings that a run needs of torch and its friends, put back as they were when it ends."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from training import processes


@contextmanager
def run_settings() -> Iterator[None]:
    """Its share of the cores that this process may use, no progress bars but ours, nothing reported to anyone.

    Off a GPU, TRL puts every position of a row through the output layer, questions and padding too, so that a
    compiler sees few shapes. Nothing is compiled here, and scoring the learnt positions alone, as it does on a GPU,
    gives the same loss in less time.

    The trainer seeds Python's, numpy's and torch's generators; they too go on afterwards as if nothing had been.
    """
    import numpy
    import torch
    from huggingface_hub import constants
    from transformers.utils import logging
    from trl.trainer import utils as trl_utils

    threads, bars, telemetry = (
        torch.get_num_threads(),
        logging.is_progress_bar_enabled(),
        constants.HF_HUB_DISABLE_TELEMETRY,
    )
    states = random.getstate(), numpy.random.get_state(), torch.get_rng_state()
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // processes.on_this_machine()))
    logging.disable_progress_bar()
    # TRL tells its makers of every trainer that is built.
    constants.HF_HUB_DISABLE_TELEMETRY = True
    try:
        with patch.object(trl_utils, "_use_triton", lambda device: True):
            yield
    finally:
        torch.set_num_threads(threads)
        if bars:
            logging.enable_progress_bar()
        constants.HF_HUB_DISABLE_TELEMETRY = telemetry
        random.setstate(states[0])
        numpy.random.set_state(states[1])
        torch.set_rng_state(states[2])
