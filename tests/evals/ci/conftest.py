"""Evaluations whose arms got given rulings."""

from __future__ import annotations

import pytest

from evals.report.evaluation import Evaluation
from lifecycle.gates import SuiteFacts
from lifecycle.verdict import Check, Ruling, Verdict
from lifecycle.version import digest_of


@pytest.fixture
def evaluated(make_report, tmp_path):
    """An evaluation whose arms got these rulings; `rivals` are those that are written out."""

    def make(rulings: dict[str, Ruling], rivals: tuple[str, ...] = (), provisional: tuple[str, ...] = ()) -> Evaluation:
        digest = digest_of("x")
        suite = SuiteFacts(
            task="toy", task_digest=digest, data_digest=digest, metric="fields", rivals=dict.fromkeys(rivals, digest)
        )
        values = {"base": 0.2} | dict.fromkeys(rulings, 0.9)
        report = make_report(values, suite=suite, provisional=provisional)
        verdicts = tuple(
            Verdict(
                ref=report.result(arm).ref,
                version_digest=report.result(arm).version_digest,
                evaluation_digest=report.digest,
                policy_digest=digest,
                provisional=provisional,
                ruling=ruling,
                checks=(Check(rule="beats base", ruling=ruling, detail=f"detail of {arm}"),),
                created_at=report.created_at,
            )
            for arm, ruling in rulings.items()
        )
        return Evaluation(report, verdicts, "toy policy", None, tmp_path)

    return make
