"""What an arm of two reports costs before and after, each at its own report's prices."""

from __future__ import annotations

from evals.cost.tradeoff import per_request
from lifecycle.report import ArmResult, Report
from lifecycle.version import Frozen

_REQUESTS = 1_000


class CostChange(Frozen):
    """Of 1,000 requests, with their share of what is paid once where the prices say how many come."""

    before: float
    after: float
    currency_before: str
    currency_after: str
    same_prices: bool
    """Whether both are at the same prices: a difference between others says nothing of the arm alone."""

    @property
    def times(self) -> float | None:
        """None between two currencies, and where the arm cost nothing before."""
        return self.after / self.before if self.before and self.currency_before == self.currency_after else None

    @property
    def said(self) -> str:
        """`0.31 → 0.62 USD for 1,000 requests (2 times)`"""
        was = "" if self.currency_before == self.currency_after else f" {self.currency_before}"
        text = f"{self.before:.3g}{was} → {self.after:.3g} {self.currency_after} for 1,000 requests"
        text += "" if self.times is None else f" ({self.times:.3g} times)"
        return text if self.same_prices else f"{text}, at other prices"


def cost_change(before: tuple[Report, ArmResult], after: tuple[Report, ArmResult]) -> CostChange | None:
    """None unless both reports have prices and the arm a cost in each."""
    (first, was), (second, now) = before, after
    if not (first.prices and second.prices and was.cost and now.cost):
        return None
    return CostChange(
        before=_REQUESTS * per_request(first, was),
        after=_REQUESTS * per_request(second, now),
        currency_before=first.prices.currency,
        currency_after=second.prices.currency,
        same_prices=first.prices.digest == second.prices.digest,
    )
