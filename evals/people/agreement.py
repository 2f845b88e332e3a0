"""Krippendorff's alpha: how far raters agree beyond chance. 1 is total agreement, 0 is chance.

Krippendorff 2018, Content Analysis, 4th ed., chapter 12. The arithmetic is `evalica`'s; a test holds it to the package
`krippendorff`, whose licence is none for what is shipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Level = Literal["nominal", "ordinal", "interval", "ratio"]


def alpha(units: Mapping[Any, Mapping[str, float]], level: Level) -> float | None:
    """Of `units`: each thing that was rated → rater → their rating, which may lack for some.

    None where no unit has two ratings. Where all ratings are one and the same, chance has no meaning and nobody
    disagrees: that is 1.
    """
    shared = {unit: ratings for unit, ratings in units.items() if len(ratings) > 1}
    if not shared:
        return None
    import pandas
    from evalica import alpha as alpha_of

    # Row by row, since units of several campaigns have no rater in common; only counts within a unit matter.
    most = max(map(len, shared.values()))
    columns = [[*ratings.values(), *[float("nan")] * (most - len(ratings))] for ratings in shared.values()]
    return float(alpha_of(pandas.DataFrame(columns).T, level).alpha)
