"""Up to where a topic has been worked off, when records are finished in any order. Pure."""


class Offsets:
    """The records of each partition that were taken and not finished yet."""

    def __init__(self) -> None:
        self._open: dict[int, set[int]] = {}
        self._next: dict[int, int] = {}

    def taken(self, partition: int, offset: int) -> None:
        """This record is being worked on. Records of a partition are taken in order."""
        self._open.setdefault(partition, set()).add(offset)
        self._next[partition] = offset + 1

    def finished(self, partition: int, offset: int) -> None:
        """This record is done."""
        self._open[partition].discard(offset)

    def safe(self) -> dict[int, int]:
        """By partition the offset to begin at after a crash: nothing before it is unfinished."""
        return {partition: min(self._open[partition], default=following) for partition, following in self._next.items()}
