"""What gateways told last of the queue of fine-tuning jobs, in the process of Ray's controller.

Apart from `ray_scaling.py`: Ray copies that module for each policy, and this one is the same for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from service.cluster.scaling import Jobs

_told: dict[str, Mapping[str, Jobs]] = {}
"""By application, and by a base's number in its file."""


def keep(application: str, of_base: Mapping[str, Jobs]) -> None:
    _told[application] = of_base


def of(application: str, base: str) -> Jobs | None:
    """None where no gateway tells of them now."""
    return _told.get(application, {}).get(base)
