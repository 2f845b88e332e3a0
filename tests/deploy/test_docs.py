"""What the documents point at is there: files, make targets, commands and their options."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    targets = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [target for target in targets if target and not (document.parent / target).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_make_targets_exist(document: Path) -> None:
    rules = set(re.findall(r"^([a-z0-9-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    lines = re.findall(
        r"(?:^|`)(?:[A-Z_]+=\S+ )*make((?: [a-z][a-z0-9-]+)+)", document.read_text("utf-8"), re.MULTILINE
    )
    assert {target for line in lines for target in line.split()} <= rules


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_commands_and_options_exist(document: Path) -> None:
    import dabt

    root: Any = typer.main.get_command(dabt.app)
    unknown = []
    for line in re.findall(r"(?:^|`)dabt ([^`\n#]+)", document.read_text(encoding="utf-8"), re.MULTILINE):
        command = root
        for word in line.split():
            if word not in getattr(command, "commands", {}):
                break
            command = command.commands[word]
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        if command is root and not line.startswith("--"):
            unknown.append(line)
        ours = line.partition(" -- ")[0]  # what follows is another program's, and its own tests read it
        unknown += [f"{line}: {option}" for option in set(re.findall(r"(?<!\S)--[a-z][a-z-]*", ours)) - known]
    assert unknown == []
