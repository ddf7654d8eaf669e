"""A process that runs what it is given, so that code which crashes or hangs ends that process and nothing else."""

from __future__ import annotations

import faulthandler
import math
import multiprocessing
import os
import pkgutil
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from types import MappingProxyType
from typing import Any

# every worker is a copy of one process that has imported torch and has not touched the GPU
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["torch"])


class Failed(Exception):
    """Why a job has no result, in one line."""


@dataclass(frozen=True)
class Job:
    """A function to call in a process.

    Attributes:
        function: Its name, as "module:function".
        arguments: Its arguments.
        limit_s: The longest that it may take.
    """

    function: str
    arguments: tuple[Any, ...] = ()
    limit_s: float = 60


class Worker:
    """A process in a process group of its own. It ends with the process that made it, however that one ends.

    Args:
        environment: Variables that it has besides those of this process.
    """

    def __init__(self, environment: Mapping[str, str] = MappingProxyType({})):
        self._connection, other = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_serve, args=(other, dict(environment)))
        self._process.start()
        other.close()

    def run(self, job: Job, left_s: float = math.inf) -> Any:
        """What the job's function returns in the process.

        Raises:
            Failed: It raised, ended its process, or took longer than its limit, or than `left_s`. Then the worker is
                of no more use: after an error of the GPU everything else in the process fails, too.
        """
        limit_s = min(job.limit_s, left_s)
        try:
            self._connection.send(job)
            if not wait([self._connection, self._process.sentinel], limit_s):
                raise Failed(f"took longer than {limit_s:.0f} s")
            # a process that ended may have left copies of itself, which keep the connection open
            if not self._connection.poll():
                raise EOFError
            value, error = self._connection.recv()
        except (EOFError, ConnectionError):
            raise Failed(self._ending()) from None
        if error:
            raise Failed(error)
        return value

    def _ending(self) -> str:
        self._process.join(1)
        code = self._process.exitcode
        if code is None or code >= 0:
            return f"its process ended with code {code}"
        return f"its process ended by {signal.Signals(-code).name}"

    def stop(self) -> None:
        """End the process, and all that it started."""
        assert self._process.pid, "it has begun"
        self._process.kill()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        # what hangs in the driver may not even die
        self._process.join(10)
        self._connection.close()


def run_all(jobs: Sequence[Job], deadline: float) -> Iterator[tuple[Job, str]]:
    """Run jobs on all cores, in this order, until it is `deadline` by the monotonic clock.

    Args:
        jobs: What to run.
        deadline: When to stop: what is not done by then is left out.

    Yields:
        A job, and why it failed, or "".
    """
    cores = min(len(jobs), os.cpu_count() or 1)
    idle: SimpleQueue[Worker] = SimpleQueue()
    for _ in range(cores):
        idle.put(Worker())

    def run(job: Job) -> str | None:
        worker, why = idle.get(), None
        if time.monotonic() < deadline:
            try:
                worker.run(job, deadline - time.monotonic())
                why = ""
            except Failed as error:
                worker.stop()
                worker = Worker()
                why = str(error) if time.monotonic() < deadline else None
        idle.put(worker)
        return why

    with ThreadPoolExecutor(max(1, cores)) as pool:
        running = {pool.submit(run, job): job for job in jobs}
        for done in as_completed(running):
            why = done.result()
            if why is not None:
                yield running[done], why
    for _ in range(cores):
        idle.get().stop()


def _serve(connection: Connection, environment: dict[str, str]) -> None:
    os.setsid()
    os.environ.update(environment)
    faulthandler.enable(all_threads=False)
    jobs: SimpleQueue[Job] = SimpleQueue()
    threading.Thread(target=_listen, args=(connection, jobs), daemon=True).start()
    while True:
        job = jobs.get()
        try:
            outcome = pkgutil.resolve_name(job.function)(*job.arguments), ""
        except Exception as error:
            traceback.print_exc()
            outcome = None, f"{type(error).__name__}: {error}".splitlines()[0][:200]
        connection.send(outcome)


def _listen(connection: Connection, jobs: SimpleQueue[Job]) -> None:
    """Take jobs in; where nobody is left to send one, end this process and all that it started."""
    with suppress(EOFError, OSError):
        while True:
            jobs.put(connection.recv())
    os.killpg(0, signal.SIGKILL)
