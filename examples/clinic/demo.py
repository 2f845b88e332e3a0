"""The whole loop on the embedded default: data → adapters → evaluation → gate → promotion → answers.

`Demo.run` reads as the story. It ends with 0 only when every part of it held. What is unchanged since the last run
(adapters, index, answers) is reused. `service_process.py` is the service that it starts, `questions.py` what it asks.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.rule import Rule

from examples.clinic.service_process import ServiceProcess
from lifecycle.commands.lines import lines
from lifecycle.errors import DabtError, NotAllowed
from lifecycle.home import Home
from lifecycle.registry import Registry
from lifecycle.store.artifacts import ArtifactStore

if TYPE_CHECKING:
    from evals.run import Evaluation

HERE = Path(__file__).parent
TASKS = ("triage", "handbook", "digest")
ACTOR = "demo"


class Demo:
    """One run of the demo in one home."""

    def __init__(self, home: Home, *, base: str = "", limit: int | None = None, keep_serving: bool = False) -> None:
        self.home = home
        self.base = base or str(HERE / "base_model")
        self.limit = limit
        self.keep_serving = keep_serving
        self.console = Console()
        self.failures: list[str] = []
        self.promoted: list[str] = []
        home.root.mkdir(parents=True, exist_ok=True)
        self.registry = Registry.open(home.registry_url)
        self.store = ArtifactStore(home.artifacts_url, home.cache)

    def run(self) -> int:
        """0 when all of it held, 1 otherwise; what did not is printed last."""
        started = time.monotonic()
        # Without this a polite kill would leave the service behind.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        with self._chapter("1. Data: look before training"):
            self._check_data()
        with ServiceProcess(self.base, self.home, self.console) as service:
            with self._chapter("2. Three adapters over one base (the service starts meanwhile)"):
                self._train(service)
            with self._chapter("3. The handbook, indexed for retrieval"):
                self._index()
            with self._chapter("4. The service: one base, adapters swapped per request"):
                service.wait_until_ready()
            with self._chapter("5. Five arms of each task, on the same items, before the gate of its name"):
                self._set_gates()
                evaluations = self._evaluate(service)
            with self._chapter("6. The gate: only what passed is promoted"):
                self._promote(evaluations)
            with self._chapter("7. One concurrent batch through the OpenAI client"):
                self._ask(service)
            self._close(evaluations, time.monotonic() - started)
            if self.keep_serving and not self.failures:
                self.console.print(f"serving at {service.url}/v1 until you press Ctrl-C")
                service.wait()
        return 1 if self.failures else 0

    def _check_data(self) -> None:
        from lifecycle.rows.files import scan
        from training.data import checks

        for task in TASKS:
            folder = HERE / "data" / task
            found, bad = scan(folder / "train.jsonl")
            against = {}
            for split in ("validation", "test"):
                against[split], more = scan(folder / f"{split}.jsonl")
                bad += more
            report = checks.check(found, against, bad=bad)
            errors, warnings = report.of("error"), report.of("warning")
            self.console.print(
                f"  {task}: {report.rows:,} rows; {len(errors)} errors, {len(warnings)} warnings; "
                "personal data, duplicates, balance and leakage looked at",
                highlight=False,
            )
            for finding in (*errors, *warnings):
                self.console.print(f"    {finding.level}: {finding.message}", highlight=False)
            if errors:
                self.failures.append(f"the data of {task} have errors: dabt data check says more")

    def _train(self, service: ServiceProcess) -> None:
        from examples.clinic.adapters import train_adapters

        for result in train_adapters(TASKS, self.base, self.home, ACTOR, self.console, core_is_free=service.start):
            metrics = result.record.metrics
            self.console.print(
                f"  {result.version.ref} {'reused' if result.reused else 'trained'}: validation loss "
                f"{metrics['base_eval_loss']:.3f} → {metrics['eval_loss']:.3f}; curve {result.folder / 'loss.png'}",
                highlight=False,
                soft_wrap=True,
            )

    def _index(self) -> None:
        from retrieval.config import IndexConfig
        from retrieval.publish import publish_index

        digest, new = publish_index(
            HERE / "handbook", "handbook", IndexConfig(), store=self.store, registry=self.registry
        )
        passages = self.registry.index("handbook").facts["passages"]
        self.console.print(f"  {passages} passages {'indexed' if new else 'reused'}: {digest[:19]}…", highlight=False)

    def _set_gates(self) -> None:
        """What `prod` of each name demands, agreed on before anything is measured."""
        from evals.suite import make_gate

        for task in TASKS:
            evaluation = HERE / "evals" / f"{task}.yaml"
            gate = make_gate(task, HERE / "evals" / "policy.yaml", [evaluation], self.registry, self.home.cache)
            self.registry.set_gate(gate, actor=ACTOR, reason="the clinic's policy on its own test items")
            self.console.print(f"  {task}:prod asks for {gate}", highlight=False)

    def _evaluate(self, service: ServiceProcess) -> dict[str, Evaluation]:
        from evals.config import EvalConfig
        from evals.progress import shown
        from evals.run import evaluate
        from evals.table import print_evaluation

        done = {}
        for task in TASKS:
            config = EvalConfig.load(
                HERE / "evals" / f"{task}.yaml", base=self.base, endpoint=f"{service.url}/v1", limit=self.limit
            )
            with shown(task, self.console) as progress:
                done[task] = evaluate(config, self.registry, self.home, actor=ACTOR, progress=progress)
            print_evaluation(done[task], self.console)
        return done

    def _promote(self, evaluations: dict[str, Evaluation]) -> None:
        if self.limit is not None:
            self.console.print("  a part of the items decides nothing, so nothing is promoted (--limit)")
            return
        for task, evaluation in evaluations.items():
            ref = evaluation.recommended
            if ref is None:
                self.failures.append(f"no arm of {task} passed the gate, so nothing was promoted")
                self.console.print(f"  {task}: no arm passed", style="red")
                continue
            reason = f"passed the gate: evaluation {evaluation.report.digest[:19]}"
            self.registry.promote(ref, actor=ACTOR, reason=reason)
            self.promoted.append(task)
            self.console.print(f"  {task} → {ref}", highlight=False)
            self._refused_without_verdict(evaluation)

    def _refused_without_verdict(self, evaluation: Evaluation) -> None:
        """The gate is only worth something if it closes: a version that failed must be refused."""
        failed = next((verdict for verdict in evaluation.verdicts if not verdict.passed), None)
        if failed is None:
            return
        try:
            self.registry.promote(failed.ref, actor=ACTOR, reason="the gate must refuse this")
        except NotAllowed as refusal:
            self.console.print(f"    refused, as it must be: {refusal}", style="dim", highlight=False)
        else:
            self.failures.append(f"{failed.ref} was promoted although it failed the gate")

    def _ask(self, service: ServiceProcess) -> None:
        from examples.clinic.questions import ask_all, print_answers

        answers = ask_all(f"{service.url}/v1", service.base_name, self.promoted)
        print_answers(answers, self.console)
        if wrong := [one.model for one in answers if one.together != one.alone]:
            self.failures.append(f"answers in the mixed batch differ from those alone: {', '.join(wrong)}")
        if failed := [one.model for one in answers if not one.together]:
            self.failures.append(f"no answer from {', '.join(failed)}")

    def _close(self, evaluations: dict[str, Evaluation], seconds: float) -> None:
        self.console.print(Rule(style="dim"))
        for evaluation in evaluations.values():
            self.console.print(f"report: {evaluation.folder / 'report.html'}", highlight=False, soft_wrap=True)
        for failure in self.failures:
            self.console.print(f"FAILED: {failure}", style="bold red", highlight=False)
        if not self.failures:
            self.console.print(
                f"done in {seconds / 60:.1f} minutes. Next: make serve · .venv/bin/dabt versions",
                style="green",
                highlight=False,
            )

    @contextmanager
    def _chapter(self, title: str) -> Iterator[None]:
        self.console.print(Rule(title, align="left"))
        started = time.monotonic()
        try:
            with lines(self.console) as said:
                said.far("  going on")  # what has progress of its own says that besides
                yield
        except DabtError:
            self.console.print(f"  stopped in: {title}", style="red")
            raise
        self.console.print(f"  {time.monotonic() - started:.0f} s", style="dim", highlight=False)
