"""Run one command, and end every process that it leaves.

A program of its own, which imports nothing of the harness: `python -I -S supervisor.py FD WORD...`.
At its end it writes the largest resident memory of these processes, in bytes, to descriptor FD.
A trial starts it and holds the other end of its standard input. It ends the command and all
processes below it as soon as the command itself ends or standard input closes, which also happens
when the trial's process is killed. On Linux, processes that left the command's session or whose
parents have ended are found as well: their parent is then the supervisor (PR_SET_CHILD_SUBREAPER).

There are two processes, because Ray kills the children of a worker that it ends, which would leave
nobody to end the rest: the child of the worker only waits for the supervisor, its own child.
"""

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36

_END_S = 10.0
"""How long to go on killing what does not end, in seconds. A process may hang in the kernel."""

_NOT_STARTED = 127
"""Exit code if the program cannot be started, as of a shell."""


def main(told: int, words: list[str]) -> None:
    """Run the command to its end, and end as it ended: with its exit code, or by its signal."""
    os.set_inheritable(told, False)
    prctl = _prctl()
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    front = os.getpid()
    supervisor = os.fork()
    if supervisor == 0:
        _supervise(words, front, prctl)
    _, status = os.waitpid(supervisor, 0)
    # Linux counts what this process had before it was this program to itself, not to its children.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    with contextlib.suppress(OSError):  # nobody is left to read it
        os.write(told, str(peak if sys.platform == "darwin" else peak * 1024).encode())
    _end_like(status)


def _supervise(words: list[str], front: int, prctl: Callable[[int, int], object]) -> None:
    """Run the command, end what it leaves, and end as it ended."""
    os.setsid()
    prctl(_PR_SET_CHILD_SUBREAPER, 1)
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, _noted)
    prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    status: int | None = None
    child = 0
    if os.getppid() == front:
        child = _start(words, prctl)
    while child and status is None:
        ready, _, _ = select.select([0, read], [], [])
        if 0 in ready or (read in ready and signal.SIGTERM in os.read(read, 4096)):
            break  # nothing is ever written to standard input: it has closed
        status = _reap().get(child)
    ended = _end_all()
    _end_like(status if status is not None else ended.get(child, 0))


def _noted(number: int, frame: object) -> None:
    """Do nothing: the signal's number arrives in the wakeup pipe."""


def _start(words: list[str], prctl: Callable[[int, int], object]) -> int:
    """Start the command in a session of its own. It dies with this process, whatever happens."""
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(_NOT_STARTED)
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.execvp(words[0], words)  # noqa: S606 - the user has allowed this command
    except OSError as error:
        os.write(2, f"OSError: {words[0]} cannot be started: {error.strerror}\n".encode())
    finally:
        os._exit(_NOT_STARTED)


def _prctl() -> Callable[[int, int], object]:
    """Return Linux's prctl; elsewhere a function that does nothing."""
    function = getattr(ctypes.CDLL(None), "prctl", None) if sys.platform == "linux" else None
    return function or (lambda option, value: None)


def _reap() -> dict[int, int]:
    """Collect the processes that have ended: their wait status, by id."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = status


def _end_all() -> dict[int, int]:
    """Kill every process below this one until none is left. Returns what `_reap` does."""
    ended: dict[int, int] = {}
    give_up_s = time.monotonic() + _END_S
    while (below := _descendants()) and time.monotonic() < give_up_s:
        for pid in below:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue  # it has ended, or belongs to another user
        ended |= _reap()
        time.sleep(0.002)
    return ended | _reap()


def _descendants() -> set[int]:
    """Return the ids of all processes below this one that have not been collected."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if name.isdecimal():
            children.setdefault(_parent(name), []).append(int(name))
    below: set[int] = set()
    waiting = [os.getpid()]
    while waiting:
        found = children.get(waiting.pop(), [])
        below.update(found)
        waiting += found
    return below


def _parent(pid: str) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name before the last bracket may hold anything.
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, IndexError):
        return -1  # it has ended


def _end_like(status: int) -> None:
    """End as the command ended."""
    if os.WIFSIGNALED(status):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
