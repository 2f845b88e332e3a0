"""One tree of errors for the whole project; it knows no HTTP.

    DabtError
    ├── InvalidInput            what the caller gave is wrong; `problems` lists every fault with its place
    │   ├── InvalidConfig           a configuration file or option
    │   ├── InvalidData             training or evaluation rows (file:line)
    │   ├── ArtifactRefused         preflight: what was trained cannot be served as it was trained
    │   │   └── AdapterRefused          this base cannot serve this adapter
    │   ├── TooLarge                a body over the limit
    │   ├── TooSlow                 a body that did not arrive in time
    │   ├── PromptTooLong           a prompt over the model's limit
    │   ├── JobRefused              what a fine-tuning job is asked for does not fit its state
    │   └── NotKept                 an earlier response is named, and none is kept
    ├── NotFound                no such version, alias, adapter, index or report
    │   └── ModelNotFound           no such model to call
    ├── NotAllowed              the state of things forbids it: no passing verdict, version retired
    ├── Unauthorized            no API key was sent, or one that is unknown, expired or revoked
    ├── Forbidden               the key is good, and not for this: its role or its models forbid it
    ├── WrongHost               the request names a host that this service does not answer to
    ├── LimitReached            the key has used what it may for now; `retry_after` seconds
    │   └── QuotaSpent              and for the rest of the day
    ├── Conflict                two writers; the other one won; try again
    │   ├── LeaseLost               a worker's job is its own no more
    │   └── AliasMoved              an alias was changed after the look at it that a move was decided by
    ├── Corrupt                 bytes do not match their digest
    ├── NoRoom                  this machine has no more disk or memory: waiting makes none, a person does
    ├── EngineFault             the engine took a request and failed on it: a fault of ours, nothing to try again
    ├── Unreadable              another release wrote it, and this one does not know its form
    └── Unavailable             the engine, registry or store cannot answer now; `retry_after` seconds when known
        ├── AdapterUnloadable       this adapter or classifier failed to load or to pass its golden prompts or texts
        ├── EngineDead              the engine stopped
        └── Overloaded              too many requests are waiting

Rules for adding one: a new class only where a caller would act differently; the message names the place and
the cure in one or two sentences; foreign exceptions become ours where we call the foreign code, once.
`service/openai/http_errors.py` turns this tree into HTTP statuses, `dabt.py` into one line on the terminal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One fault in an input: where it is, what is wrong, and what would be right."""

    place: str
    """`file:line`, a key path such as `lora.r`, or a tensor's name."""
    fault: str
    cure: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.fault}" + (f" → {self.cure}" if self.cure else "")


class DabtError(Exception):
    """Root of every error that this project raises on purpose."""

    code = "error"
    """Stable and machine-readable; it is the `code` of the OpenAI-shaped error body."""

    def __reduce__(self) -> tuple[object, ...]:
        """The same error in another process, whatever its class is made from; without what caused it."""
        return _again, (type(self), self.args), self.__dict__


def _again(kind: type[DabtError], args: tuple[object, ...]) -> DabtError:
    return kind.__new__(kind, *args)


class InvalidInput(DabtError):
    """The input is wrong. All of its problems are reported together."""

    code = "invalid_input"

    def __init__(self, summary: str, problems: Iterable[Problem] = ()) -> None:
        self.summary = summary
        self.problems = tuple(problems)
        super().__init__(summary)

    def __str__(self) -> str:
        return "\n".join([self.summary, *(f"  {problem}" for problem in self.problems)])


class InvalidConfig(InvalidInput):
    code = "invalid_config"


class InvalidData(InvalidInput):
    code = "invalid_data"


class ArtifactRefused(InvalidInput):
    code = "artifact_refused"


class AdapterRefused(ArtifactRefused):
    code = "adapter_refused"


class TooLarge(InvalidInput):
    """Its own class because HTTP has a status for it."""

    code = "request_too_large"


class TooSlow(InvalidInput):
    """Its own class because HTTP has a status for it, at which clients try again."""

    code = "request_timeout"


class PromptTooLong(InvalidInput):
    """Its own class because callers act on it: they drop earlier messages and try again."""

    code = "context_length_exceeded"


class JobRefused(InvalidInput):
    """Its own class because OpenAI's clients send it again where it is told as a conflict (409)."""

    code = "invalid_job_state"


class NotKept(InvalidInput):
    """Its own class because OpenAI's clients look for its code, and send the whole conversation then."""

    code = "previous_response_not_found"


class NotFound(DabtError):
    code = "not_found"

    def __init__(self, message: str, place: str = "model") -> None:
        self.place = place
        """What of a request named it."""
        super().__init__(message)


class ModelNotFound(NotFound):
    """Its own class because OpenAI's clients look for its code."""

    code = "model_not_found"


class NotAllowed(DabtError):
    code = "not_allowed"


class Unauthorized(DabtError):
    code = "invalid_api_key"


class Forbidden(DabtError):
    code = "permission_denied"


class WrongHost(DabtError):
    """Its own class because HTTP has a status for it."""

    code = "wrong_host"


class LimitReached(DabtError):
    code = "rate_limit_exceeded"

    def __init__(self, message: str, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class QuotaSpent(LimitReached):
    code = "insufficient_quota"


class Conflict(DabtError):
    code = "conflict"


class LeaseLost(Conflict):
    """Its own class because a worker then stops, and leaves the job alone."""

    code = "lease_lost"


class AliasMoved(Conflict):
    """Its own class because trying again is wrong: whoever decided must look first."""

    code = "alias_moved"


class Corrupt(DabtError):
    code = "corrupt"


class NoRoom(DabtError):
    code = "no_room"


class EngineFault(DabtError):
    code = "engine_fault"


class Unreadable(DabtError):
    """Its own class because nothing but another release helps: trying again does not."""

    code = "unreadable"


class Unavailable(DabtError):
    code = "unavailable"

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class AdapterUnloadable(Unavailable):
    code = "adapter_unloadable"


class EngineDead(Unavailable):
    """Told to whoever meets an engine that has stopped or is being started: it is back in seconds, as a rule."""

    code = "engine_dead"

    def __init__(self, message: str, retry_after: float | None = 5.0) -> None:
        super().__init__(message, retry_after)


class Overloaded(Unavailable):
    code = "overloaded"
