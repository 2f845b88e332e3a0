"""Krippendorff's alpha is the reference's, on its own example and on drawn ratings."""

from __future__ import annotations

import random

import krippendorff
import numpy as np
import pytest

from evals.people.agreement import alpha

N = None
EXAMPLE = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3),
    (N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N),
)
"""Krippendorff's own, with four observers and twelve units; the package's documentation has it."""


def units(table):
    return {
        unit: {f"r{rater}": float(row[unit]) for rater, row in enumerate(table) if row[unit] is not None}
        for unit in range(len(table[0]))
    }


@pytest.mark.parametrize(
    ("level", "value"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849), ("ratio", 0.797)]
)
def test_alpha_of_krippendorffs_example_is_what_the_reference_says(level, value):
    ours = alpha(units(EXAMPLE), level)
    table = np.array([[np.nan if cell is None else cell for cell in row] for row in EXAMPLE])
    assert ours == pytest.approx(krippendorff.alpha(table, level_of_measurement=level), abs=1e-12)
    assert round(ours, 3) == value


@pytest.mark.parametrize("seed", range(12))
def test_alpha_of_drawn_ratings_is_the_references_whatever_is_missing(seed):
    rng = random.Random(seed)
    table = [[rng.choice([N, 1, 1, 2, 3, 4]) for _ in range(25)] for _ in range(rng.randint(2, 5))]
    reference = np.array([[np.nan if cell is None else cell for cell in row] for row in table])
    for level in ("nominal", "ordinal", "interval", "ratio"):
        expected = krippendorff.alpha(reference, level_of_measurement=level)
        assert alpha(units(table), level) == pytest.approx(expected, abs=1e-12)


def test_there_is_no_alpha_where_no_unit_has_two_ratings():
    assert alpha({}, "nominal") is None
    assert alpha({"a": {"r": 1.0}, "b": {"s": 2.0}}, "nominal") is None


def test_raters_who_all_say_one_thing_agree_wholly():
    assert alpha({"a": {"r": 1.0, "s": 1.0}, "b": {"r": 1.0, "s": 1.0}}, "nominal") == 1.0
