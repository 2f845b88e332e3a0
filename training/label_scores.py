"""How well labels were told apart: accuracy, and precision, recall and F1 of each label. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def label_scores(answers: Sequence[int], targets: Sequence[int], labels: Sequence[str]) -> dict[str, float]:
    """`accuracy`, `macro_f1`, and `precision`, `recall` and `f1` of each label, as `f1[good]`.

    `answers` and `targets` are places in `labels`. Macro-F1 is the mean over labels that are wanted at least once, so a
    rare label counts as much as a common one; without targets all of it is 0.
    """
    figures = {"accuracy": _share(sum(map(int.__eq__, answers, targets)), len(targets))}
    wanted: list[float] = []
    for place, label in enumerate(labels):
        right = sum(answer == target == place for answer, target in zip(answers, targets, strict=True))
        said, want = list(answers).count(place), list(targets).count(place)
        f1 = _share(2 * right, said + want)
        figures |= {f"precision[{label}]": _share(right, said), f"recall[{label}]": _share(right, want)}
        figures[f"f1[{label}]"] = f1
        wanted += [f1] if want else []
    return {"macro_f1": _share(sum(wanted), len(wanted)), **figures}


def _share(part: float, whole: int) -> float:
    return part / whole if whole else 0.0
