"""Stands in for `service/engine/grammar/worker.py`: the same frames, and answers that the constraint itself asks for.

`hold` keeps its place until it is cancelled, or until `release` comes. What was asked is written to the file that the
environment names.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from typing import Any


def main() -> None:
    held: list[dict[str, Any]] = []
    with open(os.environ["GRAMMAR_STUB"], "a", encoding="utf-8", buffering=1) as seen:
        while size := sys.stdin.buffer.read(4):
            asked = json.loads(sys.stdin.buffer.read(struct.unpack(">I", size)[0]))
            if "tokens" in asked:
                print(json.dumps({"ready": True}), flush=True)
                continue
            word = f"cancel {asked['cancel']}" if "cancel" in asked else asked["spec"]
            print(word, file=seen)
            if word == "die":
                os._exit(1)
            if word == "hold":
                held.append(asked)
                continue
            ended = [asked] if "spec" in asked else []
            if word == "release":
                ended, held = [*held, *ended], []
            elif "cancel" in asked:
                ended = [trial for trial in held if trial["id"] == asked["cancel"]]
                held = [trial for trial in held if trial not in ended]
            for trial in ended:
                outcome = trial["spec"] if trial["spec"] in ("refused", "late") else "passed"
                message = "no text can keep to it" if outcome == "refused" else ""
                print(
                    json.dumps({"id": trial["id"], "outcome": outcome, "message": message, "seconds": 0.2}), flush=True
                )


if __name__ == "__main__":
    main()
