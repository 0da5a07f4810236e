import os
import signal
import threading
from collections.abc import Callable

import pytest

from regard.training.interruption import BrokenOffError, Interruption


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_leaves_a_note(number: signal.Signals) -> None:
    with Interruption() as interruption:
        assert not interruption.requested
        signal.raise_signal(number)
        assert interruption.requested
        assert interruption.signal == number


def test_a_second_interrupt_raises_and_a_second_end_does_not() -> None:
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert interruption.signal == signal.SIGTERM


def test_work_that_may_break_off_does() -> None:
    reached: list[int] = []

    def work() -> None:
        with interruption.breakable():
            reached.append(1)
            signal.raise_signal(signal.SIGTERM)
            reached.append(2)

    with Interruption() as interruption:
        with pytest.raises(BrokenOffError):
            work()
        with pytest.raises(BrokenOffError):
            work()
    assert reached == [1]


def test_no_handler_of_exceptions_can_swallow_it() -> None:
    assert not issubclass(BrokenOffError, Exception)


def test_after_work_that_may_break_off_a_signal_only_leaves_a_note() -> None:
    with Interruption() as interruption:
        with interruption.breakable():
            pass
        signal.raise_signal(signal.SIGTERM)
        assert interruption.requested


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Interruption():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_an_interrupt_is_heard_in_a_job_that_a_script_put_in_the_background() -> None:
    """Shells let such jobs ignore SIGINT; who sends it by number means it, and nothing is lost."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            signal.raise_signal(signal.SIGINT)
            assert interruption.signal == signal.SIGINT
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_forked_worker_leaves_the_decision_to_its_parent() -> None:
    with Interruption():
        child = os.fork()
        if child == 0:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            os._exit(7)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7


def test_outside_the_main_thread_nothing_is_watched() -> None:
    faults: list[BaseException] = []

    def watch() -> None:
        try:
            with Interruption() as interruption, interruption.breakable():
                assert not interruption.requested
        except BaseException as error:
            faults.append(error)

    run: Callable[[], None] = watch
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert faults == []
