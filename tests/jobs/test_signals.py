import os
import signal
import threading

import pytest

from jgr.jobs.signals import stop_signals


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, "preempted"), (signal.SIGINT, "interrupted")])
def test_a_signal_asks_to_stop(number, status):
    with stop_signals() as stop:
        assert not stop.after(1)
        os.kill(os.getpid(), number)
        assert stop.after(2)
        assert stop.status == status


def test_a_second_ctrl_c_stops_at_once():
    with stop_signals():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_sigterm_may_come_twice():
    with stop_signals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.status == "preempted"


def test_handlers_are_put_back_after_an_error_too():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def fail():
        with stop_signals():
            assert signal.getsignal(signal.SIGTERM) != before[signal.SIGTERM]
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail()
    assert {number: signal.getsignal(number) for number in before} == before


def test_a_thread_listens_to_nothing():
    found = []

    def work():
        before = signal.getsignal(signal.SIGTERM)
        with stop_signals() as stop:
            found.append((signal.getsignal(signal.SIGTERM) == before, stop.after(1)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(True, False)]
