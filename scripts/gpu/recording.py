"""A recording on disk, what its figures depend on, and how time is taken."""

from __future__ import annotations

import datetime
import json
import statistics
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from actckpt.ops.implementation import has_triton

ROOT = Path(__file__).parents[2]
Measure = Callable[[], dict[str, Any]]


class Recording:
    """A JSON file of named entries that is complete after each of them, and a time at which to stop.

    What fails is named in it, and tried again by the next run.
    """

    def __init__(self, path: Path | None, header: dict[str, Any], seconds: float):
        self.path, self.deadline, self.left = path, time.monotonic() + seconds, 0
        self.data: dict[str, Any] = header | {"date": datetime.date.today().isoformat(), "entries": {}}
        if path is not None and path.exists():
            before = json.loads(path.read_text(encoding="utf-8"))
            if all(before.get(key) == value for key, value in header.items()):
                self.data = before

    def entry(self, name: str, measure: Measure) -> None:
        """Measure it, unless it is there already or the time is up."""
        if name in self.data["entries"]:
            return
        if time.monotonic() > self.deadline:
            self.left += 1
            return
        failed = self.data.setdefault("failed", {})
        try:
            self.data["entries"][name] = measure()
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        else:
            failed.pop(name, None)
        print(name, json.dumps(self.data["entries"].get(name)), failed.get(name, ""), flush=True)
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial_file = self.path.with_suffix(".part")
            partial_file.write_text(json.dumps(self.data, indent=1) + "\n", encoding="utf-8")
            partial_file.replace(self.path)


def header(device: torch.device) -> dict[str, Any]:
    """What the figures depend on."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    names: dict[str, Any] = {"device": "cpu", "driver": None, "memory_bytes": None}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
        driver = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
        names = {"device": properties.name, "driver": driver, "memory_bytes": properties.total_memory}
    return names | {
        "cuda": torch.version.cuda,
        "torch": torch.__version__,
        "triton": version("triton") if has_triton() else None,
        "commit": commit.stdout.strip(),
    }


def seconds(functions: dict[str, Callable[[], Any]], device: torch.device, repeats: int) -> dict[str, float]:
    """The median time of each function; they take turns, so that a change of the clock meets all of them alike."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(repeats + 2):
        for name, function in functions.items():
            elapsed = _seconds_once(function, device)
            # the first turns warm up
            if turn >= 2:
                times[name].append(elapsed)
    return {name: statistics.median(measured) for name, measured in times.items()}


def _seconds_once(function: Callable[[], Any], device: torch.device) -> float:
    if device.type != "cuda":
        start = time.perf_counter()
        function()
        return time.perf_counter() - start
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    # busy for about a millisecond, while what is timed is queued: a short kernel takes less time than its launch
    torch.cuda._sleep(2_000_000)
    before.record()
    function()
    after.record()
    after.synchronize()
    return before.elapsed_time(after) / 1000
