# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The worker thread."""

import threading

from sage_perception.ros.background import Worker


class Log:
    """A node and its logger, which keeps the warnings."""

    def __init__(self):
        self.warnings = []

    def get_fully_qualified_name(self):
        return '/cam0/node'

    def get_logger(self):
        return self

    def warning(self, text, throttle_duration_sec):
        self.warnings.append(text)


def test_runs_jobs_in_order_in_its_thread_and_logs_exceptions():
    log, done, finished = Log(), [], threading.Event()
    worker = Worker(log, 'test')
    held = threading.Event()
    worker.submit(held.wait)
    worker.submit(lambda: done.append(threading.current_thread().name))
    worker.submit(lambda: 1 / 0)
    worker.submit(lambda: 1 / 0)
    worker.submit(finished.set)
    assert not done, 'do() does not block'
    held.set()
    assert finished.wait(10)
    assert done == ['cam0/node: test']
    assert log.warnings == [
        f'test: ZeroDivisionError: division by zero ({count} so far)' for count in (1, 2)
    ]
    assert worker.failures == 2
    worker.close()


def test_close_waits_for_current_job_and_drops_the_others():
    worker = Worker(Log(), 'test')
    held, done = threading.Event(), []
    worker.submit(held.wait)
    worker.submit(lambda: done.append(1))
    threading.Timer(0.2, held.set).start()
    worker.close()
    assert held.is_set(), 'the current job is finished'
    assert 'cam0/node: test' not in [thread.name for thread in threading.enumerate()]
    assert not done
