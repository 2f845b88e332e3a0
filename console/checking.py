"""What the data checks say of a file that was sent: run once for each file, in a process of its own at a low priority.

The checks load a tokenizer and read every row, which would hold up the event loop and the engine. The result lies in
the home's cache under the file's id, since a file never changes. `python -m console.checking` is that process.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from lifecycle.errors import DabtError
from lifecycle.rows.writing import replaced
from lifecycle.version import Frozen
from training.data.findings import DataReport

_PLACES = 50
"""Rows of a finding whose beginnings are kept."""


class Checked(Frozen):
    report: DataReport | None = None
    """None when the file cannot be looked at."""
    excerpts: Mapping[str, str] = {}
    """The beginnings of rows that findings name, by their place, with placeholders for personal data."""
    problem: str = ""
    """Why it cannot, in words."""


class Checks:
    """Belongs to one event loop. One file is looked at a time."""

    def __init__(self, folder: Path, base: Path) -> None:
        self._folder, self._base = folder, base
        self._running: dict[str, asyncio.Task[None]] = {}
        self._one = asyncio.Lock()

    async def of(self, id_: str, file: Path, name: str) -> Checked | None:
        """What is known of `file`, which its sender called `name`; None while it is looked at."""
        out = self._folder / f"{id_}.json"
        if out.is_file():
            try:
                return Checked.model_validate_json(await asyncio.to_thread(out.read_bytes))
            except ValidationError:
                out.unlink()  # of another release
        if id_ not in self._running or self._running[id_].done():
            self._running[id_] = asyncio.create_task(self._look(file, name, out))
        return None

    async def stop(self) -> None:
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _look(self, file: Path, name: str, out: Path) -> None:
        async with self._one:
            program = (sys.executable, "-m", "console.checking", str(file), name, str(self._base), str(out))
            silent = asyncio.subprocess.DEVNULL
            process = await asyncio.create_subprocess_exec(
                *program, stdin=silent, stdout=silent, stderr=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[1]
            )
            try:
                _, said = await process.communicate()
            except asyncio.CancelledError:
                process.kill()
                await process.wait()
                raise
            if process.returncode:
                last = said.decode("utf-8", "replace").strip().rpartition("\n")[2]
                _write(out, Checked(problem=f"the check ended with {process.returncode}: {last[:500]}"))


def look(file: Path, name: str, base: Path) -> Checked:
    """The report of `file` as one called `name`: readers go by a file's name and its first bytes."""
    from training.data import looking
    from training.data.page import Excerpts
    from training.data.personal.redaction import redact

    excerpts = Excerpts()
    with tempfile.TemporaryDirectory() as folder:
        named = Path(folder) / (Path(name).name or "rows.jsonl")
        named.symlink_to(file.resolve())
        try:
            report = looking.look(looking.Task((named,), base=str(base)), also=excerpts.see)
        except DabtError as error:
            return Checked(problem=str(error).replace(f"{named.parent}/", ""))
    wanted = [word for found in report.findings for place in found.places[:_PLACES] for word in place.split()]
    texts = [place for place in dict.fromkeys(wanted) if place in excerpts.by_place]
    here = f"{named.parent}/"
    beginnings = {place.replace(here, ""): redact([excerpts.by_place[place]])[0][0] for place in texts}
    return Checked(report=_named_alone(report, here), excerpts=beginnings)


def _named_alone(report: DataReport, folder: str) -> DataReport:
    """Without the folder that the file lay in while it was looked at: its sender knows it by its name."""
    findings = tuple(
        found.model_copy(update={"places": tuple(place.replace(folder, "") for place in found.places)})
        for found in report.findings
    )
    return report.model_copy(update={"findings": findings})


def _write(out: Path, checked: Checked) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with replaced(out) as opened:
        opened.write(checked.model_dump_json().encode())


if __name__ == "__main__":
    os.nice(10)
    _file, _name, _base, _out = sys.argv[1:]
    _write(Path(_out), look(Path(_file), _name, Path(_base)))
