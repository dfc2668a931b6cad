"""Frozen dataclasses of which an altered copy is made again and again: the states that are folded."""

from typing import Any, Self


class Alterable:
    """A base for frozen dataclasses without slots."""

    def altered(self, **values: Any) -> Self:
        """The same with other `values` in the fields that they name. What `dataclasses.replace` gives, in a sixth of the time; names of
        fields are not checked."""
        copy = object.__new__(type(self))
        fields = copy.__dict__
        fields.update(self.__dict__)
        fields.update(values)
        return copy
