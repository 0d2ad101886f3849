"""Retrying: a call is tried again after each pause while its error is worth it; then the error is the caller's."""

from __future__ import annotations

import asyncio
import itertools
import math

import pytest

from moot import Backoff, retried_while
from moot.testing.virtual_loop import run


class _Calls:
    """Fails with each of ``errors`` in turn, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.at: list[float] = []

    async def __call__(self) -> str:
        self.at.append(asyncio.get_running_loop().time())
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def _is_os_error(error: Exception) -> bool:
    return isinstance(error, OSError)


def test_a_call_is_tried_again_after_each_pause() -> None:
    call = _Calls(OSError("a"), OSError("b"))

    assert run(retried_while(call, _is_os_error, [1.0, 2.0, 4.0])) == "done"
    assert call.at == [0.0, 1.0, 3.0]


@pytest.mark.parametrize(("errors", "tries"), [([OSError("a")] * 5, 3), ([OSError("a"), ValueError("b")], 2)])
def test_it_ends_with_the_pauses_or_with_an_error_that_is_not_worth_it(errors: list[Exception], tries: int) -> None:
    call = _Calls(*errors)

    with pytest.raises(type(errors[-1])):
        run(retried_while(call, _is_os_error, [1.0, 2.0]))
    assert len(call.at) == tries


def test_calls_that_share_pauses_share_their_patience() -> None:
    pauses = iter([1.0, 2.0, 4.0])
    first, second = _Calls(OSError("a"), OSError("b")), _Calls(*[OSError("c")] * 9)

    async def both() -> None:
        await retried_while(first, _is_os_error, pauses)
        await retried_while(second, _is_os_error, pauses)

    with pytest.raises(OSError, match="c"):
        run(both())
    assert second.at == [3.0, 7.0]


@pytest.mark.parametrize(
    ("backoff", "pauses"),
    [
        (Backoff(0.5, 3.0), [0.5, 1.0, 2.0, 3.0, 3.0, 3.0]),
        (Backoff(2.0, 2.0), [2.0] * 6),
        (Backoff(0.0, 0.0), [0.001] * 6),
        (Backoff(0.0, 0.003), [0.001, 0.002, 0.003, 0.003, 0.003, 0.003]),
    ],
)
def test_pauses_double_up_to_the_limit(backoff: Backoff, pauses: list[float]) -> None:
    assert list(itertools.islice(backoff.pauses(), 6)) == pytest.approx(pauses)


@pytest.mark.parametrize(("within", "count"), [(0.0, 0), (0.1, 1), (0.5, 1), (0.6, 2), (3.5, 3), (math.inf, 20)])
def test_pauses_begin_only_while_patience_lasts(within: float, count: int) -> None:
    assert len(list(itertools.islice(Backoff(0.5, 30.0).pauses(within), 20))) == count
