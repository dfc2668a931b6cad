"""Frozen dataclasses of which an altered copy is made again and again, the states that are folded; and what is made of one once."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, Self, TypeVar, overload

Made = TypeVar("Made")


class Alterable:
    """A base for frozen dataclasses without slots."""

    @classmethod
    def made(cls, values: Mapping[str, Any]) -> Self:
        """One of `values`, which name all the fields, in their order."""
        one = object.__new__(cls)
        one.__dict__.update(values)
        return one

    def altered(self, **values: Any) -> Self:
        """The same with other `values` in the fields that they name. What `dataclasses.replace` gives, in a sixth of the time; names of
        fields are not checked."""
        copy = object.__new__(type(self))
        fields = copy.__dict__
        fields.update(self.__dict__)
        fields.update(values)
        return copy


class once(Generic[Made]):  # noqa: N801  # a decorator
    """A property that is made when it is first asked for, and kept. `functools.cached_property` without its lock, which costs as much as
    many a thing that is kept; two threads at once make the same twice."""

    def __init__(self, made: Callable[[Any], Made]) -> None:
        """Keep what `made` gives, under its own name."""
        self._made, self._name, self.__doc__ = made, made.__name__, made.__doc__

    @overload
    def __get__(self, of: None, owner: type) -> Self: ...
    @overload
    def __get__(self, of: object, owner: type) -> Made: ...
    def __get__(self, of: object | None, owner: type) -> Self | Made:
        """Make it: once it is kept, it is found without this."""
        if of is None:
            return self
        value = of.__dict__[self._name] = self._made(of)
        return value
