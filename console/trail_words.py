"""What an entry of the trail did, in words of a reader, on the pages of an alias and of a version."""

from __future__ import annotations

from console.language import N_

ACTIONS = {
    "version.create": N_("made"),
    "version.state": N_("state"),
    "verdict.record": N_("verdict"),
    "alias.move": N_("alias moved"),
    "alias.force": N_("alias moved past the gate"),
    "alias.rollback": N_("alias rolled back"),
    "alias.policy": N_("bounds or copies of the alias changed"),
    "alias.stuck": N_("canary broke a bound and could not be rolled back"),
}
