"""Saga: steps that are all done, or undone in reverse order (H. Garcia-Molina and K. Salem, "Sagas", SIGMOD 1987).

`saga` runs `Step`s in a turn that was told, and `SagaAgent` for whoever asks. What came of each step, and so the
decision to abort, is recorded before anything is done about it: a run again goes on in the direction that was taken.
"""

from moot.patterns.saga.agent import RunSaga, SagaAgent, SagaResult, SagaStepEnded
from moot.patterns.saga.run import SagaPolicy, saga
from moot.patterns.saga.steps import Abort, SagaAborted, Step

__all__ = [
    "Abort",
    "RunSaga",
    "SagaAborted",
    "SagaAgent",
    "SagaPolicy",
    "SagaResult",
    "SagaStepEnded",
    "Step",
    "saga",
]
