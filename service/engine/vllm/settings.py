"""vLLM's settings in the environment, read once an engine has started.

vLLM 0.32 looks each of them up in the environment whenever it needs one, several times for each token of each stream.
Its core keeps them once it has started; in this process, where its outputs are worked up, nobody tells it to.
"""

from __future__ import annotations


def keep() -> None:
    """From now on they are as they are now."""
    from vllm import envs

    envs.enable_envs_cache()


def read_again() -> None:
    """For the start of an engine, which may find other ones and sets some itself."""
    from vllm import envs

    envs.disable_envs_cache()
