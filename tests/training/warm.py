"""A process that has imported what a run imports, and gives each piece of code a child of its own, to be killed in.

`python -m tests.training.warm` reads lines of `[code, [argument…]]` as JSON and answers each with the child's exit
code. Importing takes ten seconds, forking none.
"""

from __future__ import annotations

import json
import os
import sys
import traceback

from tests.training.conftest import import_libraries


def _in_child(code: str, arguments: list[str]) -> int:
    child = os.fork()
    if child == 0:
        sys.argv = ["-c", *arguments]
        try:
            exec(compile(code, "<test>", "exec"), {"__name__": "__main__"})
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the code prints is no answer
    import_libraries()
    # What most pieces of code begin with.
    import tests.training.methods_at_work  # noqa: F401
    import training.jobs.worker  # noqa: F401

    for line in sys.stdin:
        print(_in_child(*json.loads(line)), file=answers, flush=True)
