"""Have Ray end a worker once its task is over, without losing what the task has sent."""

import os
import signal
from typing import Any

import ray

MANY_CALLS = 2**31 - 1
"""The `max_calls` of a task whose workers are kept: not 0, so that Ray counts their calls.

Left out, it is 1 for tasks with a GPU: a new process, and a new import of torch, for every trial.
"""

_EXIT_S = 30
"""Seconds that the worker has to exit: a thread that a trial has left must not hold it up."""


def retire() -> None:
    """Let this worker run no further task; to be called at the end of its last one.

    Ray ends a worker when a function has reached its `max_calls`: all that the task has sent is
    with the driver by then, and the worker is given no other task. It has no public way to ask for
    that earlier, so the count is set to one before the last.
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
