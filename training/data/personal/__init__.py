"""Personal data and credentials in texts and rows: where they are, how sure that is, and a copy without them.

Start with `finding.py` (a text → its hits), then `redaction.py` (placeholders, whole rows). A detector is a file:
`addresses.py`, `numbers.py` (IBAN, cards), `national_ids.py`, `phones.py`, `credentials.py`, and `names.py`, which
needs the extra `names`. They look at what `spelling.py` makes of a text: one spelling, with the place of every
character. `cues.py` knows the words that say what a number is.
"""

from training.data.personal.finding import find, kinds_in
from training.data.personal.hits import Hit, Kind
from training.data.personal.redaction import Redactor, redact

__all__ = ["Hit", "Kind", "Redactor", "find", "kinds_in", "redact"]
