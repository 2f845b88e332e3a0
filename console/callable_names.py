"""What a person may write as a model's name, by what they have typed of it: the base, aliases and versions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from console.viewer import Viewer
from lifecycle.access.keys import Role
from lifecycle.aliases import PROD
from lifecycle.states import CALLABLE, State
from lifecycle.version import Version
from service.catalogue import Snapshot
from service.resolution import Base

MOST = 20


def callable_names(typed: str, viewer: Viewer, snapshot: Snapshot, base: Base, most: int = MOST) -> list[str]:
    """The first that hold `typed`, in alphabetical order, newer versions before older ones.

    Versions that are not approved are for evaluators; classifiers answer no question, and are left out.
    """
    return list(islice(_names(typed.strip().lower(), viewer, snapshot, base), most))


def _names(typed: str, viewer: Viewer, snapshot: Snapshot, base: Base) -> Iterator[str]:
    if typed in base.name.lower() and (viewer.key is None or viewer.sees(base.name)):
        yield base.name
    wanted = typed.partition(":")[0]
    for name in snapshot.names:
        if wanted not in name:
            continue
        for alias, there in sorted(snapshot.aliases.get(name, {}).items()):
            called = name if alias == PROD else f"{name}:{alias}"
            if typed in called and viewer.sees(name, alias) and any(_speaks(v, base) for v in snapshot.behind(there)):
                yield called
        for number, version in sorted(snapshot.versions[name].items(), reverse=True):
            if typed in version.ref and viewer.sees(name, str(number)) and _may_ask(version, viewer, base):
                yield version.ref


def _may_ask(version: Version, viewer: Viewer, base: Base) -> bool:
    open_ = version.state in CALLABLE or (viewer.may(Role.EVALUATOR) and version.state is not State.RETIRED)
    return open_ and _speaks(version, base)


def _speaks(version: Version, base: Base) -> bool:
    return version.spec.classifier is None and not base.refusal(version)
