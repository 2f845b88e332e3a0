"""The `dabt` command: the packages' commands under one name.

Each command lives in its own package's `cli.py`; this file only gathers them and turns our errors into one message
and an exit code. It imports no torch and no vLLM, so that `dabt --help` answers at once.
"""

from __future__ import annotations

import typer

import evals.advice.command
import evals.archive.command
import evals.cli
import evals.gate.command
import evals.page_command
import evals.people.command
import evals.retrieval.command
import evals.safety.command
import examples.cli
import lifecycle.commands.audit
import lifecycle.commands.backup
import lifecycle.commands.doctor
import lifecycle.commands.gates
import lifecycle.commands.gc
import lifecycle.commands.keys
import lifecycle.commands.pins
import lifecycle.commands.traffic
import lifecycle.commands.versions
import retrieval.cli
import service.cli
import service.cluster.command
import service.traffic.shadow_cli
import training.cli
import training.container_command
import training.data.commands.check
import training.data.commands.convert
import training.data.commands.distill
import training.data.commands.redact
import training.data.commands.report
import training.data.commands.split
import training.export_command
import training.foreign.command
import training.jobs.cli
import training.sweep_command
from evals.ci.usage import CiCommand
from lifecycle.commands.terminal import run

app = typer.Typer(
    name="dabt",
    help="Train LoRA adapters, find out whether they are worth it, and serve them over one base model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
data = typer.Typer(help="Look at training data before it is trained on.", no_args_is_help=True)
data.command("check")(training.data.commands.check.check)
data.command("convert")(training.data.commands.convert.convert)
data.command("distill")(training.data.commands.distill.distill)
data.command("redact")(training.data.commands.redact.redact)
data.command("report")(training.data.commands.report.report)
data.command("split")(training.data.commands.split.split)

traffic = typer.Typer(help="How an alias's requests are shared out, and its canary's bounds.", no_args_is_help=True)
traffic.command("show")(lifecycle.commands.traffic.show)
traffic.command("split")(lifecycle.commands.traffic.split)
traffic.command("policy")(lifecycle.commands.traffic.policy)
shadow = typer.Typer(help="Copies of an alias's requests for a candidate, never returned.", no_args_is_help=True)
shadow.command("start")(lifecycle.commands.traffic.shadow_start)
shadow.command("stop")(lifecycle.commands.traffic.shadow_stop)
shadow.command("report")(service.traffic.shadow_cli.report)

gate = typer.Typer(help="What production of a name demands: a policy and evaluations.", no_args_is_help=True)
gate.command("set")(evals.gate.command.set_)
gate.command("show")(lifecycle.commands.gates.show)

reports = typer.Typer(help="Evaluations that are kept: shown, searched and compared over time.", no_args_is_help=True)
reports.command("list")(evals.archive.command.list_)
reports.command("show")(evals.archive.command.show)
reports.command("diff")(evals.archive.command.diff)
reports.command("history")(evals.archive.command.history)
reports.command("import")(evals.archive.command.import_)

rate = typer.Typer(help="People rate stored answers, blind and in pairs.", no_args_is_help=True)
rate.command("create")(evals.people.command.create)
rate.command("list")(evals.people.command.list_)
rate.command("vote")(evals.people.command.vote)
rate.command("undo")(evals.people.command.undo)
rate.command("status")(evals.people.command.status)
rate.command("results")(evals.people.command.results)
rate.command("agreement")(evals.people.command.agreement)
rate.command("close")(evals.people.command.close)
rate.command("export")(evals.people.command.export)

keys = typer.Typer(help="API keys: who may call a service, for what, and how much they did.", no_args_is_help=True)
keys.command("create")(lifecycle.commands.keys.create)
keys.command("list")(lifecycle.commands.keys.list_)
keys.command("revoke")(lifecycle.commands.keys.revoke)
keys.command("usage")(lifecycle.commands.keys.usage)

audit = typer.Typer(help="The trail: who did what, when and why.", no_args_is_help=True)
audit.command("export")(lifecycle.commands.audit.export)

app.add_typer(audit, name="audit")
app.add_typer(service.cluster.command.app, name="cluster")
app.add_typer(data, name="data")
app.add_typer(gate, name="gate")
app.add_typer(keys, name="keys")
app.add_typer(reports, name="reports")
app.add_typer(evals.safety.command.app, name="safety")
app.add_typer(rate, name="rate")
app.add_typer(traffic, name="traffic")
app.add_typer(shadow, name="shadow")
app.command("train")(training.cli.train)
app.command("train-container", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
    training.container_command.train_container
)
app.command("convert-config")(training.foreign.command.convert_config)
app.command("sweep")(training.sweep_command.sweep)
app.command("import")(training.cli.import_adapter)
app.command("export")(training.export_command.export)
app.command("index")(retrieval.cli.index)
app.command("measure-index")(evals.retrieval.command.measure_index)
app.command("eval", cls=CiCommand)(evals.cli.eval_)
app.command("page")(evals.page_command.page)
app.command("report-schema")(evals.page_command.report_schema)
app.command("advise")(evals.advice.command.advise)
app.command("promote")(lifecycle.commands.versions.promote)
app.command("rollback")(lifecycle.commands.versions.rollback)
app.command("pin")(lifecycle.commands.pins.pin)
app.command("unpin")(lifecycle.commands.pins.unpin)
app.command("versions")(lifecycle.commands.versions.versions)
app.command("serve")(service.cli.serve)
app.command("doctor")(lifecycle.commands.doctor.doctor)
app.command("backup")(lifecycle.commands.backup.backup)
app.command("restore")(lifecycle.commands.backup.restore)
app.command("gc")(lifecycle.commands.gc.gc)
app.command("worker")(training.jobs.cli.worker)
app.command("demo")(examples.cli.demo)


def main() -> None:
    """Run the command. Exit codes: 0 done, 1 an error that the message explains, 2 wrong usage, 130 interrupted.

    Those of `dabt eval --ci` are in `evals/ci/outcome.py`.
    """
    run(app)


if __name__ == "__main__":
    main()
