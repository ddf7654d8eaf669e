"""scripts/: they parse, say in one line what is missing, and manage without npm."""

import fcntl
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = [*(ROOT / "scripts" / name for name in ("setup", "serve", "test", "hashes")), ROOT / ".ci/run"]
TOOLS = ("bash", "cat", "cp", "df", "dirname", "env", "grep", "head", "id", "mkdir", "mv", "readlink", "rm", "tail")


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder for PATH with the shell's usual tools, and neither Python nor npm."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(str(shutil.which(tool)))
    return folder


def bash(code: str, path: Path | str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(path), "HOME": os.environ.get("HOME", "/")} | variables
    return subprocess.run(
        [str(shutil.which("bash")), "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )


def write_tool(folder: Path, name: str, code: str) -> None:
    tool = folder / name
    tool.write_text(f"#!{shutil.which('bash')}\n{code}\n")
    tool.chmod(0o755)


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one line on standard error of a command that failed and printed nothing else."""
    assert done.returncode != 0
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_syntax(script: Path) -> None:
    assert bash(f"bash -n {script}", os.environ["PATH"]).stderr == ""
    assert os.access(script, os.X_OK)


@pytest.mark.parametrize("script", SCRIPTS[:4], ids=lambda script: script.name)
def test_help_is_the_usage(script: Path) -> None:
    done = bash(f"{script} --help", os.environ["PATH"])
    assert (done.returncode, done.stderr) == (0, "")
    assert f"\n  scripts/{script.name}" in done.stdout


def test_no_python(tools: Path) -> None:
    line = refusal(bash("scripts/setup", tools))
    assert line.startswith("setup: Python 3.11 or newer is needed and was not found: install one")


def test_old_python(tools: Path) -> None:
    write_tool(tools, "python3", 'case "$2" in *print*) echo 3.9 ;; *) exit 1 ;; esac')
    line = refusal(bash("scripts/setup", tools))
    assert "Python 3.11 or newer is needed" in line
    assert "python3 is 3.9" in line


def test_newer_python_under_another_name(tools: Path) -> None:
    write_tool(tools, "python3", 'case "$2" in *print*) echo 3.9 ;; *) exit 1 ;; esac')
    write_tool(tools, "python3.12", f'exec {sys.executable} "$@"')
    found = bash('source scripts/setup; find_python; echo "$PYTHON"', tools)
    assert found.stdout.strip() == "python3.12"


def test_python_without_venv(tools: Path) -> None:
    write_tool(tools, "python3", 'case "$2" in *print*) echo 3.12 ;; *venv*) exit 1 ;; esac')
    line = refusal(bash("scripts/setup", tools))
    assert "lacks the venv module" in line
    assert "python3.12-venv" in line


VENDOR = f'source scripts/setup; VENV="{sys.prefix}"; VENDOR="$TARGET"; vendor_plotly'


def test_without_npm_the_wheel_gives_the_bundle(tools: Path, tmp_path: Path) -> None:
    import plotly

    done = bash(VENDOR, tools, TARGET=str(tmp_path / "vendor"))
    assert done.returncode == 0, done.stderr
    assert "npm is not here: the site takes the full plotly.js bundle" in done.stdout
    carried = Path(plotly.__file__).parent / "package_data/plotly.min.js"
    assert (tmp_path / "vendor/plotly.min.js").read_bytes() == carried.read_bytes()
    assert (tmp_path / "vendor/plotly.txt").read_text().startswith("full bundle: plotly.js v")


def test_where_npm_fails_the_wheel_gives_the_bundle(tools: Path, tmp_path: Path) -> None:
    write_tool(tools, "npm", "exit 1")
    done = bash(VENDOR, tools, TARGET=str(tmp_path / "vendor"))
    assert done.returncode == 0, done.stderr
    assert "npm ci failed: the site takes the full plotly.js bundle" in done.stdout
    assert (tmp_path / "vendor/plotly.txt").read_text().startswith("full bundle: plotly.js v")


FLOOR = 'source scripts/setup; VENV="$TARGET/venv"; FLOOR="$TARGET/floor"; ensure_floor'


def test_the_oldest_versions_are_installed_once(tmp_path: Path) -> None:
    python = tmp_path / "venv/bin/python"
    python.parent.mkdir(parents=True)
    # pip's arguments end with --target FOLDER --requirement FILE
    installs = (
        '[[ "$1" == --version ]] && { echo Python; exit; }; echo >>"$0.calls"; into="${@: -3:1}"; touch "$into/half"'
    )
    write_tool(python.parent, "python", f"{installs}; echo no wheel; exit 1")
    failed = bash(FLOOR, os.environ["PATH"], TARGET=str(tmp_path))
    said = r"setup: the oldest versions could not be installed, \d+ MB are free on the disk: no wheel\n"
    assert re.fullmatch(said, failed.stderr)
    assert not (tmp_path / "floor").exists()

    write_tool(python.parent, "python", f"{installs}; kill -KILL $PPID")
    assert bash(FLOOR, os.environ["PATH"], TARGET=str(tmp_path)).returncode != 0
    assert not (tmp_path / "floor").exists()

    write_tool(python.parent, "python", f'{installs}; rm "$into/half"; touch "$into/whole"')
    for _ in range(2):
        assert bash(FLOOR, os.environ["PATH"], TARGET=str(tmp_path)).returncode == 0
        assert sorted(path.name for path in (tmp_path / "floor").iterdir()) == ["floor.txt", "whole"]
    assert len((tmp_path / "venv/bin/python.calls").read_text()) == 3


def test_unknown_option() -> None:
    assert refusal(bash("scripts/setup --fast", os.environ["PATH"])).endswith("the only one is --tests")
    assert refusal(bash("scripts/serve --fast", os.environ["PATH"])).endswith("the only one is --port N")


def test_taken_port() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refusal(bash(f"scripts/serve --port {port}", os.environ["PATH"]))
    assert line == f"serve: port {port}: Address already in use: choose another with --port N"


@pytest.mark.parametrize("port", ["", "eight", "0", "70000"])
def test_impossible_port(port: str) -> None:
    assert "it must be a number from 1 to 65535" in refusal(bash(f"scripts/serve --port '{port}'", os.environ["PATH"]))


def setup(code: str, root: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """What functions of scripts/setup do in a checkout that is a folder of the test's."""
    (root / "docs/assets").mkdir(parents=True, exist_ok=True)
    # the folder is that of the script, so the script is a copy
    (root / "scripts").mkdir(exist_ok=True)
    shutil.copy(ROOT / "scripts/setup", root / "scripts")
    return bash(f"source {root}/scripts/setup; {code}", os.environ["PATH"], PYTHON=sys.executable, **variables)


def test_one_set_up_at_a_time(tmp_path: Path) -> None:
    (tmp_path / ".cache").mkdir()
    with (tmp_path / ".cache/set-up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = setup(
            f"timeout 2 bash -c 'source {tmp_path}/scripts/setup; lock set-up set-up; echo got it'", tmp_path
        )
    assert waiting.stdout == "setup: another set-up is running: waiting for it\n"
    free = setup("lock set-up set-up; unlock; lock set-up set-up; echo got it", tmp_path)
    assert (free.returncode, free.stdout) == (0, "got it\n")


def test_the_base_python_is_no_environment(tmp_path: Path) -> None:
    folder = tmp_path / ".venv/bin"
    folder.mkdir(parents=True)
    write_tool(folder, "python", f'exec {Path(sys.executable).resolve()} "$@"')
    assert setup("is_venv", tmp_path).returncode != 0
    write_tool(folder, "python", f'exec {sys.executable} "$@"')
    assert setup("is_venv", tmp_path).returncode == 0


def test_a_shell_that_knows_other_folders(tmp_path: Path) -> None:
    done = bash(f"cd {ROOT} && scripts/serve --port 0", os.environ["PATH"], CDPATH=f".:{tmp_path}")
    assert refusal(done).startswith("serve: the port is 0")


def test_a_link_to_a_script(tmp_path: Path) -> None:
    (tmp_path / "serve").symlink_to(ROOT / "scripts/serve")
    assert refusal(bash(f"{tmp_path}/serve --port 0", os.environ["PATH"])).startswith("serve: the port is 0")


@pytest.mark.parametrize("folder", [".cache", ".venv", "docs/assets/vendor"])
def test_a_file_in_the_place_of_a_folder(tmp_path: Path, folder: str) -> None:
    (tmp_path / "docs/assets").mkdir(parents=True)
    (tmp_path / folder).touch()
    assert refusal(setup("check_checkout", tmp_path)) == f"setup: {folder} is no folder: delete it"


@pytest.mark.parametrize("folder", [".cache", ".venv", "docs/assets/vendor", "site", "node_modules"])
def test_a_link_that_leads_out_of_the_checkout(tmp_path: Path, folder: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "docs/assets").mkdir(parents=True)
    (tmp_path / folder).symlink_to(tmp_path / "elsewhere")
    assert refusal(setup("check_checkout", tmp_path)).startswith(f"setup: {folder} is a link: delete it")


def test_an_environment_that_was_not_finished_is_made_anew(tmp_path: Path) -> None:
    made = f'''{sys.executable} -c "
import pathlib, sys
pathlib.Path(sys.argv[-1], 'new').touch()" "$@"'''
    folder = tmp_path / ".venv/bin"
    folder.mkdir(parents=True)
    (tmp_path / ".cache").mkdir()
    write_tool(folder, "python", f'exec {sys.executable} "$@"')
    write_tool(tmp_path, "base", made)
    stamp = folder.parent / ".set-up"
    stamp.write_text("another set-up\n")
    assert setup(f"PYTHON={tmp_path}/base; make_venv", tmp_path).stdout == ""
    assert stamp.read_text() == "another set-up\n"
    stamp.unlink()
    assert ".venv: new" in setup(f"PYTHON={tmp_path}/base; make_venv", tmp_path).stdout
    assert (tmp_path / ".venv/new").exists()
    assert stamp.read_text() == "made\n"


def test_pip_keeps_downloads_where_the_caller_says_alone(tmp_path: Path) -> None:
    asked = f"{sys.executable} -m pip cache dir"
    assert "cache is disabled" in setup(asked, tmp_path).stderr
    kept = tmp_path / "downloads"
    assert setup(asked, tmp_path, PIP_CACHE_DIR=str(kept)).stdout == f"{kept}\n"


@pytest.mark.parametrize(("edit", "to", "answer"), [("pin", "pin", 0), ("==1.0", "==1.1", 1), ("pin", "pins", 1)])
def test_pins_are_installed_by_their_hashes(tmp_path: Path, edit: str, to: str, answer: int) -> None:
    (tmp_path / "hashes").mkdir()
    hashed = (
        "a-pin==1.0 ; sys_platform == 'linux' \\\n    --hash=sha256:00\n    # via b\nb==2 \\\n    --hash=sha256:11\n"
    )
    (tmp_path / "hashes/pins.txt").write_text(hashed)
    (tmp_path / "pins.txt").write_text(
        "# a==3\nb==2\ntorch==1.0\nA_pin==1.0; platform_system == 'Linux'\n".replace(edit, to)
    )
    done = setup("check_hashes pins.txt", tmp_path)
    said = "setup: hashes/pins.txt has other pins than pins.txt: run scripts/hashes\n"
    assert (done.returncode, done.stderr) == (answer, said * answer)
