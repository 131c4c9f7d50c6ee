# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What a worker does, and does not, while messages are waiting."""

import threading

from sage_perception.ros.background import Worker


class Log:
    """Keeps what is logged."""

    def __init__(self):
        self.errors = []

    def get_logger(self):
        return self

    def error(self, text):
        self.errors.append(text)


def test_one_thing_after_the_other_in_a_thread_of_its_own_and_faults_are_told():
    log, done, at_the_end = Log(), [], threading.Event()
    worker = Worker(log, 'test')
    held = threading.Event()
    worker.do(held.wait)
    worker.do(lambda: done.append(threading.current_thread().name))
    worker.do(lambda: 1 / 0)
    worker.do(at_the_end.set)
    assert not done, 'nobody waits for it'
    held.set()
    assert at_the_end.wait(10)
    assert done == ['test']
    assert log.errors == ['ZeroDivisionError: division by zero']
    worker.close()


def test_after_its_end_nothing_is_done():
    worker = Worker(Log(), 'test')
    held, done = threading.Event(), []
    worker.do(held.wait)
    worker.do(lambda: done.append(1))
    threading.Timer(0.2, held.set).start()
    worker.close()
    assert held.is_set(), 'it waits for what is under way'
    assert 'test' not in [thread.name for thread in threading.enumerate()]
    assert not done
