"""The browser that tests look at pages with.

Chromium's headless shell, where it is installed: it draws a page as Chromium does and nothing else. Chromium draws a
toolbar beside every page, in a process of its own, which no test looks at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

_PROGRAMS = ("/usr/bin/chromium-headless-shell", "/usr/bin/chromium")


def launched(playwright: Any, timeout: float) -> Any:
    """A browser with no page yet. `timeout` is in milliseconds."""
    program = next((program for program in _PROGRAMS if Path(program).exists()), _PROGRAMS[-1])
    return playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--headless"], timeout=timeout)
