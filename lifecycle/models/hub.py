"""A repository of the hub as a local folder, and what the hub says in place of it, in our words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lifecycle.errors import NotFound, Unavailable


def fetched(name: str, patterns: Sequence[str], *, revision: str | None = None, instead: str = "folder") -> Path:
    """The repository's files of these `patterns`, downloaded where they are not there yet.

    `instead` says what else `name` could have been. Raises `NotFound`, and `Unavailable` where the hub is not reached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    at: dict[str, Any] = {} if revision is None else {"revision": revision}
    try:
        return Path(snapshot_download(name, allow_patterns=list(patterns), **at))
    except GatedRepoError as error:
        raise NotFound(f"{name} is gated on the hub: accept its licence there and set HF_TOKEN") from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        if revision is not None and isinstance(error, RevisionNotFoundError):
            raise NotFound(f"{name} has no revision {revision} on the hub") from error
        raise NotFound(f"there is no {instead} and no hub repository {name}") from error
    except OSError as error:  # also what the hub raises where it is not reached
        raise Unavailable(f"{name} is no local folder and the hub cannot be reached; give a folder's path") from error
