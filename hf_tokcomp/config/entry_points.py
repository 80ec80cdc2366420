"""Methods and models that other installed packages bring, by entry points; a broken one is named and left out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, entry_points

logger = logging.getLogger(__name__)


class Brought:
    """The entry points of a group, each loaded once, and not before it is asked for.

    Args:
        group: the group's name.
        what: what its members are, for messages.
        load: brings a member in.
        is_there: whether the table has what a member is named after.
    """

    def __init__(
        self, group: str, what: str, load: Callable[[EntryPoint], object], is_there: Callable[[str], bool]
    ) -> None:
        self.group = group
        self.what = what
        self._load = load
        self._is_there = is_there
        self._seen: set[tuple[str, str]] = set()

    def names(self) -> list[str]:
        """What the members are named; nothing is loaded for this."""
        return sorted({point.name for point in entry_points(group=self.group)})

    def bring(self, name: str | None = None) -> None:
        """Load the members of this name, or all; those that were loaded before are not loaded again.

        One that cannot be loaded, or does not bring what it is named after, is a warning that names its package.
        """
        for point in self._unseen(name):
            whose = f"The entry point {point.name!r} of the package {_package(point)} in {self.group}"
            try:
                self._load(point)
            except (Exception, SystemExit) as error:  # somebody else's code
                logger.warning("%s cannot be loaded: %s: %s", whose, type(error).__name__, error)
                continue
            if not self._is_there(point.name):
                logger.warning("%s registers no %s %r, so it is of no use.", whose, self.what, point.name)

    def _unseen(self, name: str | None) -> Iterator[EntryPoint]:
        chosen = entry_points(group=self.group) if name is None else entry_points(group=self.group, name=name)
        for point in chosen:
            key = (point.name, point.value)
            if key not in self._seen:
                self._seen.add(key)  # before it is loaded: what it imports may ask for the table
                yield point


def _package(point: EntryPoint) -> str:
    """The name of the distribution that an entry point is of."""
    return "of unknown name" if point.dist is None else point.dist.name
