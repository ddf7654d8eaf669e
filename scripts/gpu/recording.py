"""Entries, and the file that keeps what was measured for them."""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

import closure

from gpu.worker import Failed, Job, Worker, run_all

# one recording is of one device, and of one version of each of these
OF_ONE = ("device", "torch", "triton")


@dataclass(frozen=True)
class Entry:
    """Something to measure.

    Attributes:
        name: What the recording has it under; its parts are separated by slashes.
        measure: The job that measures it, and returns what JSON can hold. Among its arguments, strings of the form
            "module:function" name what it measures.
        compile: A job that compiles what it runs, without a GPU, where that takes long.
        process: Entries in a row that name the same process share it, until one of them fails; by default each entry
            has its own.
    """

    name: str
    measure: Job
    compile: Job | None = None
    process: str = ""

    def key(self) -> str:
        """A hash of what is measured: the arguments, and every source that the named functions reach."""
        asked = (self.measure.function, *self.measure.arguments)
        digest = hashlib.sha256(repr(asked).encode())
        names = [name for name in asked if isinstance(name, str) and ":" in name]
        for source in sorted({source for name in names for source in _sources(name.partition(":")[0])}):
            digest.update(source.name.encode() + source.read_bytes())
        return digest.hexdigest()[:16]


@cache
def _sources(module: str) -> list[Path]:
    found = find_spec(module)
    if not found or not found.origin:
        raise ModuleNotFoundError(f"no source of {module}")
    file = Path(found.origin)
    return [file, *closure.sources(file)]


class OtherRecording(Exception):
    """The file is there, and holds something else."""


class Recording:
    """A JSON file with the result of each entry, complete after every one of them.

    It begins with what the file holds already: the results of the entries whose key is still the same. What failed is
    named in it, and tried again after all that never was.

    Args:
        path: The file.
        about: What the file says first, such as the device and the versions.
        entries: All that is to be measured.

    Raises:
        OtherRecording: The file is of another device, or of other versions.
    """

    def __init__(self, path: Path, about: dict[str, Any], entries: Iterable[Entry]):
        self.path, self.about, self.start = path, about, time.monotonic()
        self.entries = {entry.name: entry for entry in entries}
        self.keys = {name: entry.key() for name, entry in self.entries.items()}
        before = _read(path, about) if path.exists() else {}
        self.kept = {name: outcome for name, outcome in before.items() if outcome["key"] == self.keys.get(name)}

    def results(self) -> dict[str, dict[str, Any]]:
        """What was measured, by name."""
        return {name: self.kept[name]["result"] for name in self.entries if "result" in self.kept.get(name, ())}

    def failures(self) -> dict[str, str]:
        """Why there is no result, by name."""
        return {name: self.kept[name]["failed"] for name in self.entries if "failed" in self.kept.get(name, ())}

    def missing(self) -> list[Entry]:
        """What has no result: first what was never tried, then what failed."""
        untried = [entry for name, entry in self.entries.items() if name not in self.kept]
        return untried + [self.entries[name] for name in self.failures()]

    def keep(self, name: str, **outcome: Any) -> None:
        """Keep `result=` or `failed=` of an entry, in the file."""
        self.kept[name] = {"key": self.keys[name], **outcome}
        in_order = {name: self.kept[name] for name in self.entries if name in self.kept}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_name(f"{self.path.name}.part")
        unfinished.write_text(json.dumps({**self.about, "entries": in_order}, indent=1) + "\n", encoding="utf-8")
        unfinished.replace(self.path)
        since_s = time.monotonic() - self.start
        print(f"{since_s:4.0f} s [{len(self.kept)}/{len(self.entries)}] {name} {json.dumps(outcome)[:160]}", flush=True)

    def compile(self, entries: Iterable[Entry], deadline: float) -> dict[str, str]:
        """Compile on all cores what entries run, until it is `deadline` by the monotonic clock.

        Returns:
            The names of those for which that was done or was not needed, each with why it failed, or "".
        """
        jobs = {entry.name: entry.compile for entry in entries}
        needed = [job for job in dict.fromkeys(jobs.values()) if job]
        outcomes: dict[Job | None, str] = {None: ""}
        for count, (job, why) in enumerate(run_all(needed, deadline), 1):
            outcomes[job] = why
            if count % 50 == 0 or count == len(needed):
                failed = sum(map(bool, outcomes.values()))
                said = f"compiled {count - failed} of {len(needed)}, {failed} failed"
                print(f"{time.monotonic() - self.start:4.0f} s {said}", flush=True)
        return {name: outcomes[job] for name, job in jobs.items() if job in outcomes}

    def measure(
        self, entries: Iterable[Entry], deadline: float, environment: dict[str, str], process_limit_s: float = math.inf
    ) -> None:
        """Measure entries, until it is `deadline` by the monotonic clock.

        Args:
            entries: What to measure, in this order.
            deadline: When to stop.
            environment: Variables for the processes that measure.
            process_limit_s: The longest that entries which share a process may take together.
        """
        for _, sharing in groupby(entries, key=lambda entry: entry.process or entry.name):
            until, worker = min(deadline, time.monotonic() + process_limit_s), None
            for entry in sharing:
                left_s = until - time.monotonic()
                if left_s <= 0:
                    break
                worker = worker or Worker(environment)
                try:
                    outcome = {"result": worker.run(entry.measure, left_s)}
                except Failed as error:
                    worker.stop()
                    worker = None
                    # what was cut short here may have its whole time in the next run
                    if time.monotonic() >= until:
                        break
                    outcome = {"failed": str(error)}
                self.keep(entry.name, **outcome)
            if worker:
                worker.stop()


def header(device: str, output: Path) -> dict[str, Any]:
    """Device, versions, date and commit: what a recording says of itself.

    Raises:
        Failed: There is no such device, or it does not answer.
    """
    probe = Worker()
    try:
        found = probe.run(Job("gpu.device:about", (device,), 120))
    finally:
        probe.stop()
    if not found:
        raise Failed("no CUDA device is here: --rehearse tries the script without one")
    status = _git("status", "--porcelain")
    changes = [line for line in (status or "").splitlines() if Path(line[3:]).name != output.name]
    return {
        **found,
        "date": datetime.date.today().isoformat(),
        # a plain copy of a checkout knows neither
        "commit": _git("rev-parse", "HEAD"),
        "changed": None if status is None else bool(changes),
    }


def _git(*command: str) -> str | None:
    # a copy may lie in the checkout of something else
    if not (closure.ROOT / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", *command], cwd=closure.ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.rstrip()


def _read(path: Path, about: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The entries of a file, which has to be of the same device and versions."""
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        different = [part for part in OF_ONE if before[part] != about[part]]
        entries: dict[str, dict[str, Any]] = before["entries"]
    except (ValueError, TypeError, KeyError):
        raise OtherRecording(f"{path} is not a recording: name another file") from None
    if different:
        was, is_now = (", ".join(f"{part} {of[part]}" for part in different) for of in (before, about))
        raise OtherRecording(f"{path} was recorded with {was}, and this is {is_now}: name another file")
    return entries
