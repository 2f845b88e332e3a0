"""Wrong usage under `--ci` ends with 1, because 2 says that a candidate failed, and leaves the files of any error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

from lifecycle.errors import InvalidInput

FOLDER = "dabt-ci"
_OPTION = "--ci-folder"


class CiCommand(TyperCommand):
    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        ci, folder = "--ci" in args, _folder(args)  # before the parser takes the words off the list
        try:
            return super().make_context(info_name, args, parent, **extra)
        except Exception as error:
            if ci and getattr(error, "exit_code", 0) == 2:  # usage errors of the library that typer has in it
                from evals.ci.files import write_error

                error.exit_code = 1  # type: ignore[attr-defined]
                words = error.format_message()  # type: ignore[attr-defined]  # with the option's name
                write_error("dabt eval", InvalidInput(words), folder)
            raise


def _folder(args: Sequence[str]) -> Path:
    """Where the files go, of words that no parser has understood."""
    for at, word in enumerate(args):
        name, sign, value = word.partition("=")
        if name == _OPTION and (value or args[at + 1 :]):
            return Path(value if sign else args[at + 1])
    return Path(FOLDER)
