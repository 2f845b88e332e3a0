"""The command's exit codes under `--ci`: wrong usage is an error (1) there, because 2 says that a candidate failed."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand


class CiCommand(TyperCommand):
    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        ci = "--ci" in args  # before the parser takes the words off the list
        try:
            return super().make_context(info_name, args, parent, **extra)
        except Exception as error:
            if ci and getattr(error, "exit_code", 0) == 2:  # usage errors of the library that typer has in it
                error.exit_code = 1  # type: ignore[attr-defined]
            raise
