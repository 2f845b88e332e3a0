"""Is the adapter worth it? Samples → a solver asks each arm → scorers → paired statistics → gate → report with advice.

Start with `run.py`: it is the whole evaluation as one story. `config.py` is what a user writes. The rooms:

    tasks/       where samples come from: rows as training reads them, lm-eval's tasks, other packages' suites
    solvers/     how a version is asked: one turn, several turns, with tools
    asking/      the endpoint: many requests in flight, what was answered kept, every arm treated alike
    scorers/     an answer and its sample → figures
    judging/     scorers that ask another model
    safety/      suites of harm: refusal, injection, leakage, pairs that are to be answered alike, …
    statistics/  figures over samples, with their intervals, and what a comparison proves
    gate/        a team's policy, and its verdicts
    cost/        what an arm costs beside what it is worth
    advice/      what to do, by rules with their sources; before any training, too
    people/      blind ratings by people, and what they come to
    retrieval/   what an index finds, measured with no model asked
    report/      what is written and printed
    archive/     reports that are kept: listed, shown, compared with each other and over time
    foreign/     results of other tools, taken in as reports that open no gate
    ci/          how an evaluation ends a step of a pipeline

`sample.py`, `solvers/solver.py`, `scorers/scorer.py` and `tasks/suite.py` are the four nouns; scorers, solvers and
suites of other packages are found by entry points (`plugins.py`).

This package imports neither `service` nor `training`: it reaches every model over the OpenAI HTTP API, so that what
is measured is what a caller gets.
"""
