"""End a worker after its task, without losing what the task has sent."""

import os
import signal
from typing import Any

import ray

MANY_CALLS = 2**31 - 1
"""The `max_calls` of a task whose workers are kept. It is not 0, so that Ray counts their calls.

Ray defaults to max_calls=1 for GPU tasks: a new process and a new torch import per trial.
"""

_EXIT_S = 30
"""Seconds that the worker has to exit. A thread that a trial has left cannot delay it for
longer."""


def retire() -> None:
    """Let this worker run no further task. Call it at the end of the last task.

    Ray ends a worker when a function has reached its `max_calls`. By then the driver has all that
    the task sent, and the worker gets no other task. Ray has no public way to end a worker earlier,
    so this function sets the count to one below the limit.
    """
    try:
        manager: Any = ray._private.worker.global_worker.function_actor_manager
        for function, info in manager._function_execution_info.items():
            if info and info.max_calls == MANY_CALLS:
                manager._num_task_executions[function] = MANY_CALLS - 1
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the kernel ends the process
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
        signal.alarm(_EXIT_S)
    except Exception:  # noqa: BLE001 - the trial may have broken anything that this needs
        os._exit(1)
