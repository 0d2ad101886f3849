"""The stack: how deep the present call is.

A caller that has nearly used up Python's recursion limit can fail anywhere, also between two steps
that belong together. So where that matters the depth is looked at before the first of them.
"""

from __future__ import annotations

import sys

__all__ = ["check_headroom", "is_deep"]

_MOST_FRAMES = 250

if sys.version_info >= (3, 12):

    def is_deep() -> bool:
        """Whether more than a quarter of Python's default limit, 1,000 frames, is used up."""
        return sys._getframemodulename(_MOST_FRAMES) is not None  # noqa: SLF001 - None where there is no such frame
else:

    def is_deep() -> bool:
        """Whether more than a quarter of Python's default limit, 1,000 frames, is used up."""
        try:
            sys._getframe(_MOST_FRAMES)
        except ValueError:
            return False
        return True


def check_headroom(frames: int) -> None:
    """Raise `RecursionError` if so many calls within calls cannot be made any more."""
    if frames:
        check_headroom(frames - 1)
