"""What an entry point knows in order to seal what enters: the published definitions, kept up to date, and the keys."""

import logging
import threading

from loopwright.dispatch.entrance import refuse_bare, sealed_message
from loopwright.edges import kafka
from loopwright.edges.keyring import Keyring
from loopwright.errors import LoopwrightError, NotFound, Unreachable
from loopwright.message import Message
from loopwright.registry.catalogue import Catalogue
from loopwright.settings import Settings
from loopwright.step import Record

log = logging.getLogger(__name__)
PATIENCE_S = 8.0
_PAUSE_S = 1.0


def published(settings: Settings) -> Catalogue:
    """What stands in the topic agent-definitions. Raises Unreachable, NotFound."""
    catalogue = Catalogue()
    for record in kafka.read_all(settings, [settings.topics.definitions]):
        _apply(catalogue, record)
    return catalogue


def _apply(catalogue: Catalogue, record: Record) -> None:
    catalogue.apply((record.key or b"").decode("utf-8", "replace"), record.value)


class Entrance:
    """Seals messages before they are written. Safe to share between threads."""

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._keyring = Keyring(settings.keys_file)
        self._lock = threading.Lock()

    @classmethod
    def now(cls, settings: Settings) -> "Entrance":
        """By what is published at this moment; a Kafka without the topic has no definitions. Raises Unreachable, InvalidSettings."""
        try:
            return cls(settings, published(settings))
        except NotFound:
            return cls(settings, Catalogue())

    def sealed(self, message: Message, agent: str = "") -> Message:
        """See `loopwright.dispatch.entrance.sealed_message`."""
        keys = self._keyring.keys()
        with self._lock:
            return sealed_message(message, self._catalogue, keys, self._settings.team, agent)

    def refuse_bare(self) -> None:
        """See `loopwright.dispatch.entrance.refuse_bare`."""
        with self._lock:
            refuse_bare(self._settings.team, self._catalogue)


class LiveEntrance(Entrance):
    """The same for a process that goes on: follows the definitions in a thread of its own, from its making until `close`."""

    def __init__(self, settings: Settings) -> None:
        """Begin to follow. Raises InvalidSettings where the key file cannot be used."""
        super().__init__(settings, Catalogue())
        self._keyring.keys()
        self._known, self._closed = threading.Event(), threading.Event()
        self._fault: LoopwrightError | None = None
        threading.Thread(target=self._follow, name="definitions", daemon=True).start()

    def sealed(self, message: Message, agent: str = "") -> Message:
        """As above. Raises Unreachable while the definitions could not be read."""
        if not self._known.wait(PATIENCE_S):
            fault = self._fault
            why = fault.why if fault else f"{self._settings.topics.definitions} could not be read yet"
            remedy = fault.remedy if fault else "try again in a moment"
            raise Unreachable("it cannot be told which fields are sensitive", why, remedy)
        return super().sealed(message, agent)

    def close(self) -> None:
        """Stop following."""
        self._closed.set()

    def _follow(self) -> None:
        while not self._closed.is_set():
            try:
                self._take_all()
                for record in kafka.tail(self._settings, [self._settings.topics.definitions], True, self._closed.is_set):
                    if record is not None:
                        with self._lock:
                            _apply(self._catalogue, record)
            except LoopwrightError as error:
                if str(error) != str(self._fault):
                    log.warning("the definitions cannot be followed: %s", error.why)
                self._fault = error
                self._closed.wait(_PAUSE_S)

    def _take_all(self) -> None:
        """What is there now, as a whole; then messages may pass."""
        catalogue = published(self._settings)
        with self._lock:
            self._catalogue = catalogue
        self._known.set()
