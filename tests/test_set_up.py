"""Set-up under bad luck: two at once, killed, a full disk, odd folders and variables, an index that lies.

A checkout in miniature is set up by the real scripts and the real pip, from wheels of a few bytes. Each set-up takes
seconds, so these tests run where ACTCKPT_FAULTS is set.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from miniature import BASE_PYTHON, ROOT, Checkout, make_wheel

pytestmark = [
    pytest.mark.skipif("ACTCKPT_FAULTS" not in os.environ, reason="set ACTCKPT_FAULTS=1: these take minutes"),
    pytest.mark.xdist_group("set-up"),
]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.fixture(autouse=True)
def the_base_python_is_left_alone() -> object:
    """Whatever a test does, nothing is installed into the Python that environments are made of."""

    def installed() -> set[str]:
        return {path.name for path in Path(sys.base_prefix, "lib").glob("python*/site-packages/*")}

    before = installed()
    yield
    assert installed() == before


def finished(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout.endswith("setup: ready\n")
    return done.stdout


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a command prints which could not do its work."""
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    return line


def test_a_second_set_up_has_nothing_to_do(checkout: Checkout) -> None:
    assert ".venv: new" in finished(checkout.set_up())
    checkout.check()
    assert finished(checkout.set_up()) == "setup: ready\n"


@pytest.mark.parametrize("later_s", [0, 0.3, 1.8])
def test_two_at_once(checkout: Checkout, later_s: float) -> None:
    first = checkout.start()
    time.sleep(later_s)
    second = checkout.start()
    outputs = [process.communicate(timeout=120) for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0], outputs
    said = "".join(stdout for stdout, _ in outputs)
    assert said.count(".venv: new") == said.count("waiting for it") == 1
    checkout.check()


@pytest.mark.parametrize("after_s", [0.05, 0.3, 0.6, 1, 2, 3, 4, 5, 6, 7])
def test_killed(checkout: Checkout, after_s: float) -> None:
    process = checkout.start()
    time.sleep(after_s)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    # what pip was unpacking
    shutil.rmtree(checkout.temporary)
    checkout.temporary.mkdir()
    finished(checkout.set_up())
    checkout.check()


@pytest.mark.parametrize("missing", ["pyvenv.cfg", "bin/python", ".set-up", "lib"])
def test_an_environment_that_lacks_a_part(checkout: Checkout, missing: str) -> None:
    finished(checkout.set_up())
    part = checkout.root / ".venv" / missing
    shutil.rmtree(part) if part.is_dir() else part.unlink()
    if missing == "pyvenv.cfg":
        # what would have been installed into the base Python
        (checkout.root / ".venv/.set-up").write_text("another\n")
    if missing == "lib":
        (checkout.root / ".venv/.set-up").unlink()
    assert ".venv: new" in finished(checkout.set_up())
    checkout.check()


def test_an_interrupt_ends_all_of_it(checkout: Checkout) -> None:
    holder = checkout.start()
    time.sleep(1)
    waiting = checkout.start()
    time.sleep(1)
    os.killpg(waiting.pid, signal.SIGINT)
    started = time.monotonic()
    stdout, stderr = waiting.communicate(timeout=10)
    assert time.monotonic() - started < 2
    assert waiting.returncode != 0
    assert "Traceback" not in stdout + stderr
    holder.communicate(timeout=120)
    checkout.check()


ODD_NAMES = ["a folder", "größe", "-dash", "a'b", 'a"b', "$(touch x)", "a*b", "a;b&c", "#a", "%s"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_the_checkout_has_an_odd_name(tmp_path: Path, name: str) -> None:
    odd = Checkout(tmp_path, name)
    finished(odd.set_up())
    odd.check()


def odd_variables(folder: Path) -> dict[str, dict[str, str]]:
    other = folder / "other"
    return {
        "a long TMPDIR": {"TMPDIR": str(folder / ("long" * 40) / "tmp")},
        "a TMPDIR with a space": {"TMPDIR": str(folder / "a tmp")},
        "a TMPDIR that is not there": {"TMPDIR": str(folder / "missing")},
        "a HOME that is not there": {"HOME": str(folder / "missing")},
        "PYTHONHOME": {"PYTHONHOME": str(other)},
        "PYTHONPATH": {"PYTHONPATH": f"{folder / 'unpacked'}:{other}"},
        "PIP_TARGET": {"PIP_TARGET": str(other)},
        "PIP_PREFIX": {"PIP_PREFIX": str(other)},
        "PIP_ROOT": {"PIP_ROOT": str(other)},
        "PIP_PYTHON": {"PIP_PYTHON": str(BASE_PYTHON)},
        "PIP_USER": {"PIP_USER": "1"},
    }


@pytest.mark.parametrize("name", odd_variables(Path()))
def test_odd_variables(checkout: Checkout, name: str) -> None:
    variables = odd_variables(checkout.folder)[name]
    # what PYTHONPATH leads to looks installed to pip
    shutil.unpack_archive(checkout.wheels / "tiny-1.0-py3-none-any.whl", checkout.folder / "unpacked", "zip")
    if "that is not there" not in name and "TMPDIR" in variables:
        Path(variables["TMPDIR"]).mkdir(parents=True)
    finished(checkout.set_up(**variables))
    checkout.check()
    assert not (checkout.folder / "other").exists()
    assert not (checkout.folder / "missing").exists()


def test_cdpath(checkout: Checkout) -> None:
    (checkout.folder / "elsewhere/scripts").mkdir(parents=True)
    finished(checkout.set_up("scripts/setup", CDPATH=f"{checkout.folder}/elsewhere:.:/"))
    checkout.check()


def test_links_to_the_scripts_and_to_the_checkout(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to(checkout.root / "scripts/setup")
    (tmp_path / "two").symlink_to("one")
    finished(checkout.set_up(str(tmp_path / "two")))
    checkout.check()
    (tmp_path / "link").symlink_to(checkout.root)
    assert finished(checkout.set_up(str(tmp_path / "link/scripts/setup"))) == "setup: ready\n"


def test_an_index_that_has_another_file(checkout: Checkout) -> None:
    make_wheel(checkout.folder / "elsewhere", "tiny", {"tiny.py": "GOOD = False\n"})
    both = f"{(checkout.folder / 'elsewhere').as_uri()} {checkout.wheels.as_uri()}"
    done = checkout.set_up(PIP_FIND_LINKS=both)
    if done.returncode:
        assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr
        assert not list(checkout.root.glob(".venv/lib/python*/site-packages/tiny*"))
    finished(checkout.set_up())
    checkout.check()


def test_a_pin_without_a_hash(checkout: Checkout) -> None:
    finished(checkout.set_up())
    with (checkout.root / "constraints.txt").open("a") as pins:
        pins.write("other==2.0\n")
    line = refused(checkout.set_up())
    assert line == "setup: hashes/constraints.txt has other pins than constraints.txt: run scripts/hashes"


def test_a_package_that_is_not_there_costs_no_new_environment(checkout: Checkout) -> None:
    finished(checkout.set_up())
    for file, line in (("constraints.txt", "other==2.0"), ("hashes/constraints.txt", "other==2.0 --hash=sha256:00")):
        with (checkout.root / file).open("a") as pins:
            pins.write(f"{line}\n")
    assert "No matching distribution found for other==2.0" in checkout.set_up().stderr
    for file in ("constraints.txt", "hashes/constraints.txt"):
        lines = (checkout.root / file).read_text().splitlines(keepends=True)
        (checkout.root / file).write_text("".join(lines[:-1]) + "# a comment\n")
    assert ".venv: new" not in finished(checkout.set_up())
    checkout.check()


def as_nobody(*command: str) -> tuple[str, ...]:
    """The command as a user who owns nothing."""
    if os.getuid() != 0:
        return command
    if not shutil.which("setpriv"):
        pytest.skip("root needs setpriv to become another user")
    return (str(shutil.which("setpriv")), "--reuid=65534", "--regid=65534", "--clear-groups", *command)


@pytest.mark.parametrize("script", ["setup", "serve", "test"])
def test_the_checkout_of_another_user(checkout: Checkout, script: str) -> None:
    finished(checkout.set_up())
    for folder in (checkout.root, *checkout.root.parents):
        # pytest's own folders are private
        if folder.owner() == checkout.root.owner() and folder.is_relative_to(Path(checkout.folder).parent.parent):
            folder.chmod(0o755)
    readable = as_nobody(str(shutil.which("test")), "-r", str(checkout.root / "scripts" / script))
    if subprocess.run(readable, check=False).returncode:
        pytest.skip("another user cannot look into the folder that pytest has chosen")
    checkout.root.chmod(0o555)
    try:
        done = checkout.set_up(*as_nobody(str(checkout.root / "scripts" / script)), PYTHON="/usr/bin/python3 python3")
    finally:
        checkout.root.chmod(0o755)
    assert refused(done).endswith("cannot be written to: clone the repository to a folder of your own")


def mounted(code: str, checkout: Checkout) -> subprocess.CompletedProcess[str]:
    """Runs code in the shell of a process that may mount what it likes, unseen by others."""
    unshare = [str(shutil.which("unshare") or "unshare"), "--mount", "--propagation", "private"]
    try:
        able = subprocess.run([*unshare, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    except OSError:
        pytest.skip("unshare is not here")
    if able.returncode:
        pytest.skip("mounting is not allowed")
    environment = checkout.environment(PATH=f"{checkout.tools}:{os.environ['PATH']}", PIP_NO_CACHE_DIR="1")
    # npm is not for these tests
    (checkout.tools / "npm").symlink_to(str(shutil.which("false")))
    command = [*unshare, "bash", "-c", f"set -u; {code}"]
    return subprocess.run(
        command, env=environment, cwd=checkout.folder, capture_output=True, text=True, check=False, timeout=120
    )


def test_a_read_only_disk(checkout: Checkout) -> None:
    done = mounted(
        "mount --bind checkout checkout && mount -o remount,bind,ro checkout && exec checkout/scripts/setup", checkout
    )
    assert refused(done).endswith("cannot be written to: clone the repository to a folder of your own")


@pytest.mark.parametrize("size", ["100k", "5m", "17m", "24m", "27m", "30m"])
def test_a_full_disk(checkout: Checkout, size: str) -> None:
    code = f"""
        mkdir disk; mount -t tmpfs -o size={size} none disk; cp -r checkout disk/
        disk/checkout/scripts/setup >first 2>&1; echo "first: $?"
        mount -o remount,size=200m disk
        disk/checkout/scripts/setup >second 2>&1; echo "second: $?"
        cd /; "$OLDPWD/disk/checkout/.venv/bin/python" -c "import tiny, torch, plotly, backend"; echo "import: $?"
    """
    done = mounted(code, checkout)
    first, second, imported = done.stdout.splitlines()
    said = (checkout.folder / "first").read_text()
    assert (second, imported) == ("second: 0", "import: 0"), (checkout.folder / "second").read_text()
    if first != "first: 0":
        assert "No space left on device" in said or " 0 MB are free on the disk" in said
        assert "Traceback" not in said


def test_a_port_that_only_root_may_have(checkout: Checkout) -> None:
    finished(checkout.set_up())
    start = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    if not start.exists() or int(start.read_text()) <= 80:
        pytest.skip("any user may have port 80 here")
    done = checkout.set_up(*as_nobody(str(ROOT / "scripts/serve"), "--port", "80"), PYTHON="/usr/bin/python3 python3")
    assert "Permission denied" in refused(done)
    assert "taken" not in done.stderr
