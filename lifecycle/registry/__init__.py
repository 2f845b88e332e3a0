"""The registry: one database of versions, evaluations, verdicts, aliases, keys, their use, and the trail of changes.

Start with `registry.py`. Only the modules here touch its tables.
"""

from lifecycle.aliases import Alias, Target
from lifecycle.registry.audit import AuditEntry
from lifecycle.registry.records import IndexRecord
from lifecycle.registry.registry import Registry

__all__ = ["Alias", "AuditEntry", "IndexRecord", "Registry", "Target"]
