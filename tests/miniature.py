"""A checkout in miniature: the real scripts, with a package and wheels of a few bytes, to be set up within seconds."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASE_PYTHON = Path(sys.base_prefix, "bin/python3").resolve()
TOOLS = (
    *("bash", "cat", "chmod", "cp", "df", "dirname", "env", "grep", "head", "id", "mkdir", "mv", "readlink", "rm"),
    *("sed", "sleep", "sort", "tail", "tr"),
)
# builds itself with the standard library alone
BACKEND = '''
import pathlib, zipfile

METADATA = """Metadata-Version: 2.1
Name: miniature
Version: 1.0
Provides-Extra: torch
Provides-Extra: triton
Provides-Extra: charts
Provides-Extra: docs
Provides-Extra: dev
Requires-Dist: tiny; extra == 'docs'
Requires-Dist: plotly; extra == 'charts'
"""
WHEEL = """Wheel-Version: 1.0
Root-Is-Purelib: true
Tag: py3-none-any
"""

def build_editable(folder, config_settings=None, metadata_directory=None):
    name, info = "miniature-1.0-py3-none-any.whl", "miniature-1.0.dist-info"
    with zipfile.ZipFile(pathlib.Path(folder, name), "w") as wheel:
        wheel.writestr("miniature.pth", str(pathlib.Path.cwd()))
        for file, content in (("METADATA", METADATA), ("WHEEL", WHEEL), ("RECORD", "")):
            wheel.writestr(f"{info}/{file}", content)
    return name
'''
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "miniature"
version = "1.0"
"""
BANNER = "/* plotly.js v1.0.0 */"


def make_wheel(folder: Path, name: str, files: dict[str, str]) -> str:
    """Writes a wheel of version 1.0, and returns its hash."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-1.0.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = [f"{info}/RECORD,,"]
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).decode().rstrip("=")
        lines.append(f"{path},sha256={digest},{len(content)}")
    file = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as wheel:
        for path, content in (files | {f"{info}/RECORD": "\n".join(lines)}).items():
            wheel.writestr(path, content)
    return hashlib.sha256(file.read_bytes()).hexdigest()


class Checkout:
    """A checkout in miniature, with an index, a home and a folder for temporary files of its own."""

    def __init__(self, folder: Path, name: str = "checkout") -> None:
        self.folder, self.root, self.wheels = folder, folder / name, folder / "wheels"
        self.home, self.temporary, self.tools = folder / "home", folder / "tmp", folder / "tools"
        for made in (self.home, self.temporary, self.tools, self.root / "docs/assets", self.root / "hashes"):
            made.mkdir(parents=True, exist_ok=True)
        for tool in TOOLS:
            (self.tools / tool).symlink_to(str(shutil.which(tool)))
        shutil.copytree(ROOT / "scripts", self.root / "scripts", ignore=shutil.ignore_patterns("*.py", "gpu", "__*"))
        make_wheel(self.wheels, "torch", {"torch.py": ""})
        hashes = {
            "tiny": make_wheel(self.wheels, "tiny", {"tiny.py": "GOOD = True\n", "data": "x" * 500_000}),
            "plotly": make_wheel(
                self.wheels, "plotly", {"plotly/__init__.py": "", "plotly/package_data/plotly.min.js": BANNER}
            ),
        }
        for file, pins in (("constraints.txt", ("plotly", "tiny")), ("floor.txt", ("tiny",))):
            listed = ["torch==1.0"] * (file == "constraints.txt") + [f"{name}==1.0" for name in pins]
            (self.root / file).write_text("\n".join(listed) + "\n")
            hashed = [f"{name}==1.0 --hash=sha256:{hashes[name]}\n" for name in pins]
            (self.root / "hashes" / file).write_text("".join(hashed))
        (self.root / "pyproject.toml").write_text(PROJECT)
        (self.root / "backend.py").write_text(BACKEND)
        for file in ("package.json", "package-lock.json"):
            (self.root / file).write_text("{}")

    def environment(self, **variables: str) -> dict[str, str]:
        return {
            "PATH": str(self.tools),
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "PYTHON": str(BASE_PYTHON),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": self.wheels.as_uri(),
        } | variables

    def start(self, *command: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command or (str(self.root / "scripts/setup"),),
            env=self.environment(**variables),
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def set_up(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*command, **variables)
        stdout, stderr = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def check(self) -> None:
        """Holds that set-up has done all of its work, in the checkout and nowhere else."""
        probe = "import sys, tiny, torch, plotly, backend; print(sys.prefix, sys.base_prefix, tiny.GOOD)"
        python = self.root / ".venv/bin/python"
        found = subprocess.run([python, "-c", probe], cwd="/", capture_output=True, text=True, check=True)
        assert found.stdout == f"{self.root / '.venv'} {sys.base_prefix} True\n"
        checked = subprocess.run([python, "-m", "pip", "check"], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout
        assert (self.root / "docs/assets/vendor/plotly.min.js").read_text() == BANNER
        assert (self.root / "docs/assets/vendor/plotly.txt").read_text() == "full bundle: plotly.js v1.0.0\n"
        assert list(self.temporary.iterdir()) == []
        # rustup's own, where its rustc answers pip, which asks for the version
        assert {path.name for path in self.home.iterdir()} <= {".rustup"}
