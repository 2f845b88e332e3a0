"""The simulation of the gate: it uses the gate's own rules, its bars hold, and a broken gate breaks them."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from benchmarks import gate
from benchmarks.gate import Bar, Rate, false_promotions, promoted
from benchmarks.gate_draws import CANDIDATES, TRIES, Cell, by_pair, cluster_p, equal, go, improved, sizes_of
from evals.gate.policy import Policy, judge
from evals.statistics.clusters import spread
from evals.statistics.comparison import paired
from evals.statistics.evidence import mcnemar, p_above
from lifecycle.report import ArmResult, Comparison, Interval, Report, Tries
from lifecycle.version import digest_of

AT = datetime(2026, 1, 1, tzinfo=UTC)
LABELS = [f"c{number}" for number in range(CANDIDATES)]


def test_a_series_promotes_whom_the_gate_itself_passes() -> None:
    rng = np.random.default_rng(3)
    n, policy = 200, Policy.model_validate({"rules": [{"rule": "beats"}]})
    wins, losses = rng.binomial(n // 2, 0.13, (40, CANDIDATES)), rng.binomial(n // 2, 0.03, (40, CANDIDATES))
    for number in (1, 4):
        passed = [
            any(one.passed for one in judge(report(n, won, lost, number), policy, LABELS, at=AT))
            for won, lost in zip(wins, losses, strict=True)
        ]
        p = by_pair(mcnemar, wins, losses)[:, None, :]
        series = promoted(p, CANDIDATES + 1, number) - (promoted(p, CANDIDATES + 1, number - 1) if number > 1 else 0)
        assert series.astype(bool).tolist() == passed
        assert 0 < sum(passed) < 40


def report(n: int, wins: np.ndarray, losses: np.ndarray, number: int) -> Report:
    def arm(label: str) -> ArmResult:
        return ArmResult(
            arm=label,
            ref=f"toy:{1 + ['base', *LABELS].index(label)}",
            version_digest=digest_of(label),
            metrics={"score": Interval(value=0.5, low=0.4, high=0.6, n=n)},
            latency_p50=1,
            latency_p95=1,
            prompt_tokens=1,
            completion_tokens=1,
        )

    return Report(
        task="toy",
        task_digest=digest_of("toy"),
        base="toy",
        metric="score",
        arms=tuple(arm(label) for label in ["base", *LABELS]),
        comparisons=tuple(compared(label, int(w), int(c), n) for label, w, c in zip(LABELS, wins, losses, strict=True)),
        n_items=n,
        tries=Tries(number=number),
        seed=1,
        created_at=AT,
    )


def compared(label: str, wins: int, losses: int, n: int) -> Comparison:
    rest = [1.0] * (n - wins - losses)
    first, second = [1.0] * wins + [0.0] * losses + rest, [0.0] * wins + [1.0] * losses + rest
    return paired(first, second, None, arm=label, against="base", metric="score")


def test_many_samples_of_clusters_get_the_p_that_a_comparison_gets() -> None:
    rng = np.random.default_rng(5)
    sizes = sizes_of(100, 20)
    wins, losses = rng.binomial(sizes, 0.3, (30, 20)), rng.binomial(sizes, 0.1, (30, 20))
    losses = np.minimum(losses, sizes - wins)
    sums = wins - losses
    found = cluster_p(sums, spread(sums.astype(float), sizes.astype(float)), worth_knowing=1.0)
    labels = np.repeat(np.arange(20), sizes).tolist()
    for at in range(30):
        first, second = [], []
        for cluster, size in enumerate(sizes):
            rest = [0.0] * int(size - wins[at, cluster] - losses[at, cluster])
            first += [1.0] * int(wins[at, cluster]) + [0.0] * int(losses[at, cluster]) + rest
            second += [0.0] * int(wins[at, cluster]) + [1.0] * int(losses[at, cluster]) + rest
        one = paired(first, second, labels, arm="a", against="b", metric="m")
        assert (found[at] if one.delta > 0 else p_above(one)) == pytest.approx(p_above(one))


@pytest.mark.parametrize("cell", [Cell(200, 0.7), Cell(200, 0.3, 20)])
def test_equal_candidates_stay_below_the_bar(cell: Cell) -> None:
    rates = false_promotions(cell, 60, (1,))
    assert set(rates) == {(arms, tries) for arms in (2, 5) for tries in (1, 5, 20)}
    for ours, _ in rates.values():
        assert ours.low <= gate.ALPHA
    assert rates[5, 20][1] > 0.3  # MLflow's rule, on the same: some candidate of the 80 looks better


def test_a_gate_that_spends_its_bound_on_every_try_breaks_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "spent", lambda alpha, number: 0.025)
    ours, _ = false_promotions(Cell(626, 0.7), 60, (1,))[2, 20]
    assert ours.low > gate.ALPHA


def test_a_gate_that_forgets_the_other_candidates_breaks_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "holm_levels", lambda p, alpha: alpha)
    ours, _ = false_promotions(Cell(2_000, 0.5), 400, (1,))[5, 20]
    assert ours.low > gate.ALPHA


def test_fewer_clusters_than_the_gate_asks_for_promote_nobody() -> None:
    ours, others = false_promotions(Cell(200, 0.7, 8), 20, (1,))[5, 20]
    assert (ours.value, ours.high) == (0.0, 0.0)
    assert others > 0.5


def test_candidates_are_equal_but_for_the_first_and_its_lead() -> None:
    none, some = (equal(Cell(1_000, 0.7, lead=lead), 200, np.random.default_rng(2)) for lead in (0.0, 0.05))
    assert none.p.shape == (200, TRIES, CANDIDATES)
    assert np.median(none.p) == pytest.approx(0.5, abs=0.03)
    assert np.median(some.p[:, :, 0]) < 0.01
    assert np.median(some.p[:, :, 1:]) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(("n", "published"), [(10, 0.73), (20, 0.55), (50, 0.22)])
def test_the_t_interval_of_no_flips_says_go(n: int, published: float) -> None:
    lost = np.random.default_rng(1).binomial(n, 0.03, 20_000)
    errors = np.sqrt(lost / n * (1 - lost / n) / (n - 1))
    assert go(-lost / n, errors, n, 0.01).mean() == pytest.approx(published, abs=0.02)


def test_the_other_rule_is_mcnemars_p_below_five_percent_two_sided() -> None:
    wins, losses = np.array([6, 5, 0, 9]), np.array([0, 0, 6, 1])
    assert improved(wins, losses).tolist() == [True, False, False, True]


def test_clusters_of_unequal_sizes_hold_all_items() -> None:
    for n, clusters in ((50, 20), (100, 73), (2_000, 200), (200, 5)):
        sizes = sizes_of(n, clusters)
        assert (len(sizes), sizes.sum(), sizes.min() >= 1) == (clusters, n, True)


def test_a_rate_says_how_sure_it_is() -> None:
    rate = Rate.of(np.array([0.0, 0.0, 1.0, 1.0]))
    assert rate.value == 0.5
    assert rate.error == pytest.approx(np.std([0, 0, 1, 1], ddof=1) / 2)
    assert rate.low < 0.5 < rate.high


@pytest.mark.parametrize("held", [True, False])
def test_a_broken_bar_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], held: bool
) -> None:
    for part in ("equal_candidates", "power", "losses"):
        monkeypatch.setattr(gate, part, lambda *_, **__: [Bar("a promise", held)])
    if held:
        gate.main(quick=True, seed=1, workers=1)
    else:
        with pytest.raises(SystemExit) as stop:
            gate.main(quick=True, seed=1, workers=1)
        assert stop.value.code == 1
    assert ("BROKEN: a promise" in capsys.readouterr().out) != held
