"""What a candidate's shadow traffic says: how often it agrees, how often each fails, how much longer it takes.

Pure: records in, figures with 95 % intervals out. Shares have Wilson's score interval (Wilson 1927); the ratio of times
is the geometric mean over pairs of the same request, with Student's interval on the logarithms.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from lifecycle.intervals import wilson
from lifecycle.report import Interval
from lifecycle.version import Frozen
from service.traffic.canary import percentile
from service.traffic.shadow_records import ShadowRecord

LEVEL = 0.95


class Summary(Frozen):
    """One candidate beside one version that was served. None where there is nothing to tell a figure from."""

    served: str
    candidate: str
    n: int
    agreement: Interval | None
    """Of those that both answered."""
    served_errors: Interval | None
    candidate_errors: Interval | None
    served_json: Interval | None
    """Answers that are JSON texts, of those that both answered."""
    candidate_json: Interval | None
    ttft_ratio: Interval | None
    """The candidate's time to the first token over the served version's."""
    total_ratio: Interval | None
    served_p95: float
    """Seconds for a whole answer, in the engine."""
    candidate_p95: float
    codes: dict[str, int]
    """The candidate's errors."""


def summarise(records: Iterable[ShadowRecord]) -> list[Summary]:
    """One for each pair of versions, the pair seen last first."""
    pairs: dict[tuple[str, str], list[ShadowRecord]] = {}
    for record in records:
        pairs.setdefault((record.served.ref, record.candidate.ref), []).append(record)
    newest_first = sorted(pairs.values(), key=lambda records: max(record.at for record in records), reverse=True)
    return [_summary(records) for records in newest_first]


def share(truths: Sequence[bool]) -> Interval | None:
    """How many are true, with Wilson's interval; None of nothing."""
    return wilson(sum(truths), len(truths)) if truths else None


def ratio(pairs: Iterable[tuple[float | None, float | None]]) -> Interval | None:
    """The geometric mean of second over first, where both are known; None of fewer than two, which have no spread."""
    from scipy.stats import t

    logs = [math.log(second / first) for first, second in pairs if first and second]
    if len(logs) < 2:
        return None
    n, mean = len(logs), math.fsum(logs) / len(logs)
    error = math.sqrt(math.fsum((value - mean) ** 2 for value in logs) / (n - 1) / n)
    reach = float(t.ppf((1 + LEVEL) / 2, n - 1)) * error
    return Interval(value=math.exp(mean), low=math.exp(mean - reach), high=math.exp(mean + reach), n=n)


def _summary(records: Sequence[ShadowRecord]) -> Summary:
    both = [record for record in records if record.agree is not None]
    return Summary(
        served=records[0].served.ref,
        candidate=records[0].candidate.ref,
        n=len(records),
        agreement=share([bool(record.agree) for record in both]),
        served_errors=share([bool(record.served.code) for record in records]),
        candidate_errors=share([bool(record.candidate.code) for record in records]),
        served_json=share([record.served.is_json for record in both]),
        candidate_json=share([record.candidate.is_json for record in both]),
        ttft_ratio=ratio((record.served.ttft, record.candidate.ttft) for record in both),
        total_ratio=ratio((record.served.seconds, record.candidate.seconds) for record in both),
        served_p95=percentile(record.served.seconds for record in both if record.served.seconds is not None),
        candidate_p95=percentile(record.candidate.seconds for record in both if record.candidate.seconds is not None),
        codes=dict(Counter(record.candidate.code for record in records if record.candidate.code)),
    )
