"""The error tree. Errors are named by what the caller does next.

    LoopwrightError              what happened, why, what to do next
    ├── Retryable                try again, later
    │   └── Unreachable          a needed service does not answer              (exit code 3)
    └── Terminal                 trying again gives the same                   (exit code 1)
        ├── InvalidSettings      a setting is wrong                            (exit code 2)
        ├── InvalidDefinition    the definition of an agent or a source is wrong: file, field, remedy
        ├── InvalidDocument      a document breaks a contract
        ├── KeyMissing           the key of an encrypted value is not here
        ├── SealBroken           an encrypted value was changed or moved
        ├── NotFound             what was asked for is not there
        ├── Conflict             it is there already, and different
        ├── NotAllowed           whoever asks may not have it
        └── PlatformFailed       a local service did not start or did not stop

Vendor exceptions are translated into these once, in `loopwright.edges`.
"""

from dataclasses import dataclass


@dataclass(eq=False)
class LoopwrightError(Exception):
    """Base of all errors a person sees. `what` happened, `why` (with the offending value, secrets masked), and the `remedy`."""

    what: str
    why: str = ""
    remedy: str = ""

    exit_code = 1

    def __str__(self) -> str:
        return "\n".join(
            part for part in (self.what, self.why and f"  why: {self.why}", self.remedy and f"  remedy: {self.remedy}") if part
        )

    def as_dict(self) -> dict[str, str]:
        """The error as JSON shows it."""
        return {"error": type(self).__name__, "what": self.what, "why": self.why, "remedy": self.remedy}


class Retryable(LoopwrightError):
    """Trying again later may succeed."""


class Unreachable(Retryable):
    """A needed service does not answer."""

    exit_code = 3


class Terminal(LoopwrightError):
    """Trying again gives the same."""


class InvalidSettings(Terminal):
    """A setting is missing or has a value that cannot be used."""

    exit_code = 2


class InvalidDefinition(Terminal):
    """The definition of an agent or of a source cannot be used."""


class InvalidDocument(Terminal):
    """A document breaks a contract or a limit."""


class KeyMissing(Terminal):
    """The key that an encrypted value was made with is not here."""


class SealBroken(Terminal):
    """An encrypted value was changed, or belongs to another workflow or field."""


class NotFound(Terminal):
    """What was asked for is not there."""


class Conflict(Terminal):
    """It is there already, and different."""


class NotAllowed(Terminal):
    """Whoever asks may not have or do it."""


class PlatformFailed(Terminal):
    """A local service did not start or did not stop."""
