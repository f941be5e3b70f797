"""Stopping: what a signal asks for, and threads that cannot handle one."""

import threading

from harness.session.signals import stop_on_signals


def test_in_a_thread_that_cannot_handle_signals_a_run_goes_on_without_them() -> None:
    found: list[bool] = []

    def run() -> None:
        with stop_on_signals() as stop:
            found.append(stop.is_set())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [False]
