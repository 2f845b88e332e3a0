"""What every example does: look at the data, set the gate, evaluate, promote what passed, ask, and say what failed.

An example is a folder with `data/<task>/{train,validation,test}.jsonl`, `evals/<task>.yaml` and `evals/policy.yaml`;
its `demo.py` is the story that calls these steps. What is unchanged since the last run is reused.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.rule import Rule

from examples.service_process import ServiceProcess
from lifecycle.commands.lines import lines
from lifecycle.commands.terminal import open_console
from lifecycle.errors import DabtError, NotAllowed
from lifecycle.home import Home
from lifecycle.registry import Registry
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.text.counting import counted
from lifecycle.version import Ref

if TYPE_CHECKING:
    from evals.run import Evaluation
    from training.run import TrainResult

ACTOR = "demo"
EACH = 4
"""Questions to each promoted name at the end; the base is asked half as many of each task."""


class Loop:
    """One run of an example in one home. `failures` has what did not hold."""

    def __init__(self, folder: Path, tasks: tuple[str, ...], home: Home, base: str, limit: int | None = None) -> None:
        self.folder, self.tasks, self.home, self.base, self.limit = folder, tasks, home, base, limit
        self.console = open_console()
        self._rule = min(self.console.width, 80)
        self.failures: list[str] = []
        self.promoted: dict[str, str] = {}
        """The names that took production, with the task of each."""
        self._began = time.monotonic()
        home.root.mkdir(parents=True, exist_ok=True)
        self.registry = Registry.open(home.registry_url)
        self.store = ArtifactStore(home.artifacts_url, home.cache)
        # Without this a polite kill would leave the service behind.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    def service(self) -> ServiceProcess:
        """A service over the base, not started yet."""
        return ServiceProcess(self.base, self.home, self.console)

    @contextmanager
    def chapter(self, title: str) -> Iterator[None]:
        self.console.print(Rule(title, align="left"), width=self._rule)
        started = time.monotonic()
        try:
            with lines(self.console) as said:
                said.far("  going on")  # what has progress of its own says that besides
                yield
        except DabtError:
            self.console.print(f"  stopped in: {title}", style="red")
            raise
        self.console.print(f"  {time.monotonic() - started:.0f} s", style="dim", highlight=False)

    def check_data(self) -> None:
        from lifecycle.rows.files import scan
        from training.data import checks

        for task in self.tasks:
            folder = self.folder / "data" / task
            found, bad = scan(folder / "train.jsonl")
            against = {}
            for split in ("validation", "test"):
                against[split], more = scan(folder / f"{split}.jsonl")
                bad += more
            report = checks.check(found, against, bad=bad)
            errors, warnings = report.of("error"), report.of("warning")
            self.console.print(
                f"  {task}: {counted(report.rows, 'row')}; {counted(len(errors), 'error')}, "
                f"{counted(len(warnings), 'warning')}; "
                "personal data, duplicates, balance and leakage looked at",
                highlight=False,
            )
            for finding in (*errors, *warnings):
                self.console.print(f"    {finding.level}: {finding.message}", highlight=False)
            if errors:
                self.failures.append(f"the data of {task} have errors: dabt data check says more")

    def print_trained(self, results: Sequence[TrainResult]) -> None:
        for result in results:
            metrics = result.record.metrics
            self.console.print(
                f"  {result.version.ref} {'reused' if result.reused else 'trained'}: validation loss "
                f"{metrics['base_eval_loss']:.3f} → {metrics['eval_loss']:.3f}; curve {result.folder / 'loss.png'}",
                highlight=False,
                soft_wrap=True,
            )

    def set_gates(self, reason: str) -> None:
        """What `prod` of each name demands, agreed on before anything is measured."""
        from evals.gate.suites import make_gate

        for task in self.tasks:
            evaluation = self.folder / "evals" / f"{task}.yaml"
            policy = self.folder / "evals" / "policy.yaml"
            for name in judged(task, evaluation):
                gate = make_gate(name, policy, [evaluation], self.registry, self.home.cache)
                self.registry.set_gate(gate, actor=ACTOR, reason=reason)
                self.console.print(f"  {name}:prod asks for {gate}", highlight=False)

    def evaluate(self, service: ServiceProcess) -> dict[str, Evaluation]:
        from evals.config import EvalConfig
        from evals.progress import shown
        from evals.report.table import print_evaluation
        from evals.run import evaluate

        done = {}
        for task in self.tasks:
            config = EvalConfig.load(
                self.folder / "evals" / f"{task}.yaml", base=self.base, endpoint=f"{service.url}/v1", limit=self.limit
            )
            with shown(task, self.console) as progress:
                done[task] = evaluate(config, self.registry, self.home, actor=ACTOR, progress=progress)
            print_evaluation(done[task], self.console)
        return done

    def promote(self, evaluations: dict[str, Evaluation]) -> None:
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
            self.promoted[Ref.parse(ref).name] = task
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

    def ask(self, service: ServiceProcess, max_tokens: int = 128, also: Mapping[str, str] | None = None) -> None:
        """Questions of each task to what was promoted for it, to the base, and to the models `also`, by task."""
        from examples.asking import ask_all, print_answers, questions

        tests = {task: questions(self.folder / "data" / task / "test.jsonl", EACH) for task in self.tasks}
        models = {**self.promoted, **(also or {})}
        asked = [(model, question) for model, task in models.items() for question in tests[task]]
        asked += [(service.base_name, question) for task in self.tasks for question in tests[task][: EACH // 2]]
        classifiers = {model for model in models if self.registry.version(model).spec.classifier}
        answers = ask_all(f"{service.url}/v1", asked, max_tokens, classifiers)
        print_answers(answers, self.console)
        if wrong := [one.model for one in answers if one.together != one.alone]:
            self.failures.append(f"answers in the mixed batch differ from those alone: {', '.join(wrong)}")
        if failed := [one.model for one in answers if not one.together]:
            self.failures.append(f"no answer from {', '.join(failed)}")

    def close(self, evaluations: dict[str, Evaluation], service: ServiceProcess | None, then: str) -> int:
        """Says where the reports are, what failed and what to do next; 0 when all of it held, 1 otherwise.

        A `service` goes on until it is interrupted, unless something failed.
        """
        self.console.print(Rule(style="dim"), width=self._rule)
        for evaluation in evaluations.values():
            self.console.print(f"report: {evaluation.folder / 'report.html'}", highlight=False, soft_wrap=True)
        for failure in self.failures:
            self.console.print(f"FAILED: {failure}", style="bold red", highlight=False)
        if self.failures:
            return 1
        minutes = (time.monotonic() - self._began) / 60
        self.console.print(f"done in {minutes:.1f} minutes. Next: {then}", style="green", highlight=False)
        if service is not None:
            self.console.print(f"serving at {service.url}/v1 until you press Ctrl-C")
            service.wait()
        return 0


def judged(task: str, evaluation: Path) -> list[str]:
    """The names whose versions this evaluation judges: the task's, and those that its arms name."""
    from evals.config import EvalConfig

    named = [recipe.version or recipe.adapter for recipe in EvalConfig.load(evaluation).arms.values()]
    return list(dict.fromkeys([task, *(Ref.parse(ref).name for ref in named if ref)]))
