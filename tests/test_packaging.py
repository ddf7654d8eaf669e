"""The wheel works in a clean environment without torch, and every version that set-up installs is pinned."""

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# one worker builds the wheel, once
pytestmark = pytest.mark.xdist_group("packaging")

# what `actckpt estimate --json` prints, as far down as the keys are fixed
ESTIMATE = {
    **dict.fromkeys(("model", "seq_len", "batch_size", "accounting", "attention", "policy", "peak_bytes")),
    "activations": {
        "per_layer_bytes": None,
        "total_bytes": None,
        "by_component": dict.fromkeys(("attention", "ffn", "norm", "checkpoint")),
        "terms": [dict.fromkeys(("name", "component", "bytes", "shape", "dtype"))],
    },
    "head": dict.fromkeys(("saved_bytes", "flops")),
    "states": dict.fromkeys(("parameters_bytes", "gradients_bytes", "optimizer_bytes")),
    "flops": dict.fromkeys(("forward", "backward", "recompute", "overhead")),
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, text=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def clean_environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that has the wheel and what it requires, and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    install = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python"), "install", "-qq"]
    subprocess.run([*install, "-c", str(ROOT / "constraints.txt"), str(wheel)], check=True)
    return folder / "bin"


def run(command: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command outside the repository."""
    return subprocess.run([str(part) for part in command], cwd=folder, capture_output=True, text=True, check=False)


def keys(value: Any) -> Any:
    """The keys of a JSON value, all the way down; of a list, those of its first entry."""
    if isinstance(value, dict):
        return {key: keys(entry) for key, entry in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [keys(value[0])]
    return None


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "actckpt").rglob("*.py")} | {"actckpt/py.typed"}
    assert sources <= names
    assert {name for name in names - sources if ".dist-info/" not in name} == set()
    assert any(name.endswith("LICENSE") for name in names)


def test_wheel_requires_numpy_alone(wheel: Path) -> None:
    (name,) = (name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".dist-info/METADATA"))
    required = re.findall(r"^Requires-Dist: (.*)$", zipfile.ZipFile(wheel).read(name).decode(), re.MULTILINE)
    assert [Requirement(line).name for line in required if "extra ==" not in line] == ["numpy"]


def test_estimate_without_torch(clean_environment: Path, tmp_path: Path) -> None:
    find_torch = "import importlib.util as u, sys; sys.exit(u.find_spec('torch') is not None)"
    assert run([clean_environment / "python", "-c", find_torch], tmp_path).returncode == 0
    arguments = ["estimate", "--model", "llama-3.1-8b", "--seq-len", "1024", "--json"]
    printed = run([clean_environment / "actckpt", *arguments], tmp_path)
    assert (printed.returncode, printed.stderr) == (0, "")
    assert keys(json.loads(printed.stdout)) == ESTIMATE
    module = run([clean_environment / "python", "-m", "actckpt", *arguments], tmp_path)
    assert module.stdout == printed.stdout


def test_measure_without_torch_says_what_is_missing(clean_environment: Path, tmp_path: Path) -> None:
    printed = run([clean_environment / "actckpt", "measure", "--model", "llama-3.1-8b", "--seq-len", "1024"], tmp_path)
    assert (printed.returncode, printed.stdout) == (2, "")
    assert len(printed.stderr.splitlines()) == 1
    assert "torch" in printed.stderr


def test_help_without_torch_shows_what_works_without_it(clean_environment: Path, tmp_path: Path) -> None:
    code = "import actckpt; help(actckpt); print(dir(actckpt))"
    shown = run([clean_environment / "python", "-c", code], tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "estimate(model" in shown.stdout
    assert "needs PyTorch" not in shown.stdout
    names = shown.stdout.splitlines()[-1]
    assert "'estimate'" in names
    assert "'measure'" not in names
    assert "'measure'" in run([sys.executable, "-c", code], ROOT).stdout.splitlines()[-1]


def pins(file: str = "constraints.txt") -> dict[str, Version]:
    """The versions that a file pins; those with hashes go on below a backslash."""
    lines = (ROOT / file).read_text().splitlines()
    pinned = [Requirement(line.removesuffix("\\")) for line in lines if re.match(r"[^#\s]", line)]
    return {canonicalize_name(pin.name): Version(str(pin.specifier).removeprefix("==")) for pin in pinned}


def requirements() -> list[Requirement]:
    """What the package and all its extras ask for."""
    lines = [*PROJECT["dependencies"], *(line for extra in PROJECT["optional-dependencies"].values() for line in extra)]
    return [Requirement(line) for line in lines]


def test_pins_lie_in_the_ranges() -> None:
    pinned = pins()
    for requirement in requirements():
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, requirement
    assert pinned["torch"] == Version("2.13.0")


def test_every_pin_has_hashes() -> None:
    # each index has a torch of its own
    assert pins("hashes/constraints.txt") == {name: pin for name, pin in pins().items() if name != "torch"}
    for file in ("constraints.txt", "floor.txt"):
        entries = re.split(r"^(?=\S)", (ROOT / "hashes" / file).read_text(), flags=re.MULTILINE)[1:]
        assert all(re.search(r"\n    --hash=sha256:[0-9a-f]{64}\b", entry) for entry in entries)


def test_the_floor_has_hashes() -> None:
    listed = re.findall(r"^\w+==[\d.]+", (ROOT / "floor.txt").read_text(), re.MULTILINE)
    assert listed == re.findall(r"^\w+==[\d.]+", (ROOT / "hashes/floor.txt").read_text(), re.MULTILINE)


@pytest.mark.parametrize("workflow", sorted(ROOT.glob(".github/workflows/*.yml")), ids=lambda file: file.stem)
def test_actions_are_pinned_by_commit(workflow: Path) -> None:
    jobs = yaml.safe_load(workflow.read_text())["jobs"].values()
    steps = [step for job in jobs for step in job["steps"] if "uses" in step]
    assert steps
    for step in steps:
        action, _, commit = step["uses"].partition("@")
        assert re.fullmatch(r"[0-9a-f]{40}", commit), f"{action} is pinned by {commit}"
        if action == "actions/checkout":
            assert step["with"]["persist-credentials"] is False


def test_the_floor_is_what_the_ranges_begin_with() -> None:
    lines = (ROOT / "floor.txt").read_text().splitlines()
    floor = [Requirement(line) for line in lines if not line.startswith("#")]
    python, elsewhere = {"python_version": "3.11"}, {"platform_system": "Linux"}
    oldest = {each.name: str(each.specifier) for each in floor if each.marker.evaluate(python | elsewhere)}
    begins = {each.name: str(each.specifier) for each in requirements() if each.name in oldest}
    assert oldest == {name: begins[name].replace(">=", "==") for name in ("numpy", "triton")}


def test_everything_installed_is_pinned() -> None:
    pinned, seen = pins(), set()
    todo = requirements()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        # torch for CUDA pins its own libraries
        if name in seen or name.startswith(("cuda-", "nvidia-")):
            continue
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        seen.add(name)
        distribution = metadata.distribution(name)
        python = distribution.metadata["Requires-Python"]
        assert Version("3.11.0") in SpecifierSet(python or ""), f"{name} needs Python {python}"
        assert name in pinned, f"{name} is not in constraints.txt"
        assert pinned[name] == Version(Version(distribution.version).public), f"{name}: run scripts/setup"
        for line in distribution.requires or ():
            required = Requirement(line)
            extras = [{"extra": extra} for extra in requirement.extras] or [{"extra": ""}]
            if not required.marker or any(required.marker.evaluate(extra) for extra in extras):
                required.marker = None
                todo.append(required)


def test_javascript_is_pinned_to_what_plotly_carries() -> None:
    from plotly.offline import get_plotlyjs_version

    package = json.loads((ROOT / "package.json").read_text())
    lock = json.loads((ROOT / "package-lock.json").read_text())
    assert package["dependencies"]["plotly.js-basic-dist-min"] == get_plotlyjs_version()
    for name, version in (package["dependencies"] | package["devDependencies"]).items():
        assert lock["packages"][f"node_modules/{name}"]["version"] == version
    # the lock file names no registry: any mirror serves
    assert not any("resolved" in entry for entry in lock["packages"].values())


def test_one_worker_takes_a_group(request: pytest.FixtureRequest) -> None:
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("the tests do not run in groups")
    # pytest-xdist names the group here, and pytest 9.2 hides that name from its scheduler
    assert request.node.nodeid.endswith("@packaging")


def test_version_is_the_same_everywhere() -> None:
    version = metadata.version("actckpt")
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## [{version}]" in (ROOT / "CHANGELOG.md").read_text()


def test_readme_prints_what_it_shows(tmp_path: Path) -> None:
    match = re.search(
        r"```python\n(.*?)```\n\nprints\n\n```text\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL
    )
    assert match
    code, shown = match.groups()
    printed = run([sys.executable, "-c", code], tmp_path)
    assert printed.returncode == 0, printed.stderr
    assert printed.stdout == shown


def test_readme_maps_the_repository() -> None:
    readme = (ROOT / "README.md").read_text()
    drawn = readme.split("## Where things are\n\n")[1].split("\n\n")[0].splitlines()
    mapped, folder = set(), ""
    for line in drawn:
        name = line.split()[0]
        # an entry is indented by four, and by two more where it lies in the folder above it
        if line.startswith("      "):
            name = folder + name
        elif name.endswith("/"):
            folder = name
        mapped.add(name)
    assert {name for name in mapped if not (ROOT / name).exists()} == set()
    assert {f"actckpt/{path.name}" for path in (ROOT / "actckpt").glob("*.py")} - mapped == set()
    scripts = {f"scripts/{path.name}" for path in (ROOT / "scripts").iterdir() if path.name != "__pycache__"}
    assert scripts - {name.rstrip("/") for name in mapped} == set()
