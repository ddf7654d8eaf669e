"""The process that executes a lab: it imports from this checkout, and leaves nothing outside it."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

ROOT = Path(__file__).resolve().parents[3]
CACHE = ROOT / ".cache"
# no lab takes as long
ABANDONED_S = 3600


class Kernel(AsyncKernelManager):
    """A kernel whose files, sockets and settings are in a folder of their own, which goes when the kernel ends."""

    def __init__(self, **options: Any) -> None:
        CACHE.mkdir(exist_ok=True)
        _sweep()
        self.folder = TemporaryDirectory(prefix="kernel-", dir=CACHE)
        # from here, for the path of a socket may have 103 characters
        near = os.path.relpath(self.folder.name)
        super().__init__(
            transport="ipc",
            ip=f"{near}/socket",
            connection_file=f"{near}/kernel.json",
            # this Python's own kernel, wherever others are described
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
            **options,
        )

    async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))).rstrip(os.pathsep),
            # nothing is read from or written to the user's own settings
            "IPYTHONDIR": self.folder.name,
            # a figure leaves its data, which the page draws
            "PLOTLY_RENDERER": "plotly_mimetype",
        }
        await super().start_kernel(env=environment, **options)

    async def cleanup_resources(self, restart: bool = False) -> None:  # type: ignore[override]
        """Remove the folder."""
        await super().cleanup_resources(restart)
        self.folder.cleanup()


def _sweep() -> None:
    """Remove the folders that killed builds left."""
    for folder in CACHE.glob("kernel-*"):
        # another build may be removing its own
        with suppress(FileNotFoundError):
            if time.time() - folder.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(folder)
