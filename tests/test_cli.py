"""The command line: its JSON object, its tables, and one line for whatever is wrong."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import actckpt
from actckpt import ACCELERATORS, ACCOUNTINGS, OPTIMIZERS, POLICIES, PRESETS, estimate, report
from actckpt.cli import main
from actckpt.formulas import accounting_policies
from actckpt.states import States

ESTIMATE = ["estimate", "--model", "llama-3.1-8b", "--seq-len", "4096"]
MEASURE = ["measure", "--model", "llama-3.2-1b", "--seq-len", "64"]
HF = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "intermediate_size": 96,
    "vocab_size": 50,
}
QWEN_WINDOW = {"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1}
# https://huggingface.co/mistralai/Mistral-7B-v0.1/blob/main/config.json
MISTRAL = {
    "architectures": ["MistralForCausalLM"],
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "max_position_embeddings": 32_768,
    "model_type": "mistral",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05,
    "rope_theta": 10_000.0,
    "sliding_window": 4096,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 32_000,
}
KEYS = {
    "model": str,
    "seq_len": int,
    "batch_size": int,
    "accounting": str,
    "attention": str,
    "policy": str,
    "activations": {
        "per_layer_bytes": int,
        "total_bytes": int,
        "by_component": {"attention": int, "ffn": int, "norm": int, "checkpoint": int},
        "terms": [{"name": str, "component": str, "bytes": int, "shape": [int], "dtype": str}],
    },
    "head": {"saved_bytes": int, "flops": int},
    "states": {"parameters_bytes": int, "gradients_bytes": int, "optimizer_bytes": int},
    "peak_bytes": int,
    "flops": {"forward": int, "backward": int, "recompute": int, "overhead": float},
}


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command that works prints."""
    status = main(list(arguments))
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    return out


def refuse(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command prints that does not work."""
    try:
        status = main(list(arguments))
    except SystemExit as leaving:
        status = leaving.code
    out, err = capsys.readouterr()
    assert status == 2
    assert out == ""
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


def check_form(found: Any, form: Any, at: str = "") -> None:
    """`found` has the keys of `form`, in that order, and values of its types."""
    if isinstance(form, dict):
        assert list(found) == list(form), at
        for key, inner in form.items():
            check_form(found[key], inner, f"{at}.{key}")
    elif isinstance(form, list):
        assert isinstance(found, list), at
        for entry in found:
            check_form(entry, form[0], f"{at}[]")
    else:
        assert type(found) is form, at


# Answers


@pytest.mark.parametrize("accounting", ACCOUNTINGS)
def test_estimate_prints_the_object_of_the_design(accounting: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name in accounting_policies(accounting):
        policy = name.replace("N", "3")
        out = run(*ESTIMATE, "--policy", policy, "--accounting", accounting, "--json", capsys=capsys)
        found = json.loads(out)
        check_form(found, KEYS)
        assert found == estimate("llama-3.1-8b", seq_len=4096, policy=policy, accounting=accounting).to_dict()
        activations = found["activations"]
        assert sum(activations["by_component"].values()) == activations["total_bytes"]
        assert sum(term["bytes"] for term in activations["terms"]) == activations["per_layer_bytes"]
        flops = found["flops"]
        assert flops["overhead"] == flops["recompute"] / (flops["forward"] + flops["backward"])


def test_a_key_that_is_missing_is_noticed() -> None:
    step = estimate("llama-3.1-8b", seq_len=64).to_dict()
    del step["head"]["flops"]
    with pytest.raises(AssertionError, match="head"):
        check_form(step, KEYS)


@pytest.mark.parametrize("attention", ["flash", "eager"])
@pytest.mark.parametrize("policy", ["none", "save_attention", "every_2"])
def test_measure_prints_the_same_object_as_estimate(
    policy: str, attention: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--batch-size", "2", "--policy", policy, "--attention", attention, "--json")
    measured = json.loads(run(*MEASURE, *options, capsys=capsys))
    check_form(measured, KEYS)
    estimated = json.loads(run("estimate", *MEASURE[1:], *options, capsys=capsys))
    assert measured["accounting"] == "measured"
    assert {**measured, "accounting": "llama"} == estimated


@pytest.mark.parametrize(("accounting", "gib"), [("workshop", "2,696"), ("paper", "1,348")])
def test_a_person_reads_2696_and_1348_gib(accounting: str, gib: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = run("estimate", "--model", "llama-3.1-8b", "--seq-len", "16384", "--accounting", accounting, capsys=capsys)
    assert re.search(rf"All 32 blocks keep {gib}(\.0)? GiB", out)


@pytest.mark.parametrize("command", [ESTIMATE, MEASURE], ids=["estimate", "measure"])
def test_a_person_reads_every_term_and_every_sum(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    out = run(*command, "--policy", "both", capsys=capsys)
    step = json.loads(run(*command, "--policy", "both", "--json", capsys=capsys))
    for term in step["activations"]["terms"]:
        assert re.search(rf"^ *{re.escape(term['name'])} .*{term['component']}.*{term['dtype']}", out, re.M)
    for word in ("checkpoint", "peak", "parameters", "optimizer", "recompute", "overhead", "GiB", step["model"]):
        assert word in out
    assert f"{step['flops']['overhead']:.1%}" in out
    assert max(map(len, out.splitlines())) <= 120
    assert not any(line != line.rstrip() for line in out.splitlines())


@pytest.mark.parametrize("command", [ESTIMATE, MEASURE], ids=["estimate", "measure"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_states_are_shared_and_kept_as_asked(
    command: list[str], optimizer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--data-parallel", "8", "--optimizer", optimizer)
    step = json.loads(run(*command, *options, "--json", capsys=capsys))
    states = States.of(PRESETS[command[2]].n_parameters, 8, optimizer)
    assert list(step["states"].values()) == [states.parameters_bytes, states.gradients_bytes, states.optimizer_bytes]
    alone = json.loads(run(*command, "--json", capsys=capsys))
    whole = sum(alone["states"].values())
    assert alone["peak_bytes"] - whole == step["peak_bytes"] - states.bytes
    out = run(*command, *options, capsys=capsys)
    assert f"on each of 8 ranks that share the states: {OPTIMIZERS[optimizer].description}" in out
    assert re.search(rf"^  peak +{step['peak_bytes'] / 2**30:,.1f} GiB$", out, re.M)


@pytest.mark.parametrize(
    ("count", "largest", "read"),
    [
        (0, 2**30, "0.0 GiB"),
        (2**29, 2**30, "0.5 GiB"),
        (114_687_000_000, 114_687_000_000, "106.8 GiB"),
        (2696 * 2**30, 2**50, "2,696.0 GiB"),
        (2**20, 2**20, "1.00 MiB"),
        # halves up
        (5 * 2**30 // 20, 2**30, "0.3 GiB"),
    ],
)
def test_numbers_that_add_up_are_read_in_one_unit(count: int, largest: int, read: str) -> None:
    assert report.memory(count, largest) == read


def test_hf_config_takes_a_file_or_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(HF))
    for command in ("estimate", "measure"):
        found = [
            json.loads(run(command, "--hf-config", str(path), "--seq-len", "32", "--json", capsys=capsys))
            for path in (file, tmp_path)
        ]
        assert found[0] == found[1]
        assert found[0]["states"]["parameters_bytes"] == 4 * (2 * 64 * 50 + 2 * (4 * 64**2 + 3 * 64 * 96 + 128) + 64)


def test_mistral_7b_answers_beyond_its_window(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, s, h, window = tmp_path / "mistral.json", 8192, 4096, 4096
    step = ("--hf-config", str(file), "--seq-len", str(s), "--policy", "attention", "--json")
    file.write_text(json.dumps(MISTRAL))
    windowed = json.loads(run("estimate", *step, capsys=capsys))
    # the elements of the published weights
    assert windowed["states"]["parameters_bytes"] == 4 * 7_241_732_096
    # every pair that the mask leaves, counted
    query, key = np.ogrid[:s, :s]
    pairs = np.count_nonzero((key <= query) & (key > query - window))
    matmul = 2 * 32 * 128 * pairs
    qkv, o, ffn = (2 * s * h * n for n in (4096 + 1024 + 1024, 4096, 3 * 14_336))
    flops = windowed["flops"]
    assert flops["forward"] == 32 * (qkv + o + ffn + 2 * matmul)
    assert flops["backward"] == 32 * (2 * (qkv + o + ffn) + 5 * matmul)
    # the o projection is not run again: nothing reads its output
    assert flops["recompute"] == 32 * (qkv + 2 * matmul)
    assert windowed == {**json.loads(run("measure", *step, capsys=capsys)), "accounting": "llama"}
    # of all else the window changes nothing
    file.write_text(json.dumps(MISTRAL | {"sliding_window": None}))
    whole = json.loads(run("estimate", *step, capsys=capsys))
    assert whole["flops"]["forward"] > flops["forward"]
    assert {**whole, "flops": flops} == windowed


@pytest.mark.parametrize(
    ("command", "names"), [("models", PRESETS), ("policies", POLICIES), ("accelerators", ACCELERATORS)]
)
def test_the_lists_name_everything(command: str, names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(run(command, "--json", capsys=capsys))
    assert [row["name"] for row in rows] == list(names)
    table = run(command, capsys=capsys)
    for name, entry in names.items():
        assert name in table or entry.label in table


@pytest.mark.parametrize("command", ["estimate", "measure"])
def test_help_names_every_n(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert "every_N" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("full", "All 16 blocks keep"),
        ("every_3", "All 16 blocks, of which 5 are checkpointed, keep"),
        ("every_9", "All 16 blocks, of which 1 is checkpointed, keep"),
        ("every_17", "All 16 blocks, none of which is checkpointed, keep"),
    ],
)
def test_a_person_reads_how_many_blocks_are_checkpointed(
    policy: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in run("estimate", *MEASURE[1:], "--policy", policy, capsys=capsys)


@pytest.mark.parametrize(
    ("count", "read"),
    [
        (0, "0 bytes"),
        (4, "4 bytes"),
        (1023, "1,023 bytes"),
        (1024, "1.00 KiB"),
        (16 * 1024, "16.0 KiB"),
        (1536 * 1024, "1.50 MiB"),
        (1000 * 2**20, "1,000 MiB"),
        (2**30, "1.00 GiB"),
        (235 * 2**30 // 10, "23.5 GiB"),
        (2696 * 2**30, "2,696 GiB"),
    ],
)
def test_a_size_is_read_in_the_unit_that_suits_it(count: int, read: str) -> None:
    assert report.size(count) == read


def test_a_tiny_model_is_not_all_zeros(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(HF))
    out = run("estimate", "--hf-config", str(tmp_path), "--seq-len", "32", capsys=capsys)
    assert not re.search(r"(?<![\d.])0(\.0+)? [GMK]iB", out)
    assert re.search(r"^  norm_1\.rstd .* 128 bytes$", out, re.M)
    # flush right
    terms = out.split("One block keeps")[1].split("\n\n")[0].splitlines()[1:]
    assert len({len(line) for line in terms}) == 1


@pytest.mark.parametrize("program", [["-m", "actckpt"]])
def test_python_m_actckpt_is_the_command_line(program: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    done = subprocess.run([sys.executable, *program, *ESTIMATE, "--json"], capture_output=True, text=True, check=True)
    assert done.stdout == run(*ESTIMATE, "--json", capsys=capsys)
    failed = subprocess.run([sys.executable, *program, "estimate"], capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stdout, failed.stderr.count("\n")) == (2, "", 1)


# What is wrong


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ([], ("COMMAND",)),
        (["estimat"], ("'estimat'", "'estimate'")),
        ([*ESTIMATE, "--modle", "x"], ("--modle",)),
        ([*ESTIMATE, "--policy"], ("--policy",)),
        (["estimate", "--model", "llama-3.1-8b"], ("--seq-len",)),
        (["estimate", "--seq-len", "8"], ("--model", "--hf-config")),
        ([*ESTIMATE, "--hf-config", "x.json"], ("--model", "--hf-config")),
        (["estimate", "--model", "llama-3.1-8", "--seq-len", "8"], ("'llama-3.1-8'", "'llama-3.1-8b'", "gpt-22b")),
        (["estimate", "--model", "", "--seq-len", "8"], ("''", "llama-3.1-8b")),
        ([*ESTIMATE, "--policy", "fulll"], ("'fulll'", "'full'", "save_attention", "every_N")),
        ([*ESTIMATE, "--policy", "every_1"], ("'every_1'", "'full'")),
        ([*ESTIMATE, "--accounting", "papers"], ("'papers'", "'paper'", "workshop", "llama")),
        ([*ESTIMATE, "--attention", "flsh"], ("'flsh'", "'flash'", "eager")),
        ([*ESTIMATE, "--attention", ""], ("''", "flash", "eager")),
        ([*ESTIMATE[:-1], "0"], ("seq_len is 0", "at least 1")),
        ([*ESTIMATE[:-1], "-4"], ("-4", "at least 1")),
        ([*ESTIMATE[:-1], "4k"], ("'4k'", "whole number")),
        ([*ESTIMATE[:-1], "4096.0"], ("'4096.0'", "whole number")),
        ([*ESTIMATE[:-1], ""], ("''", "whole number")),
        ([*ESTIMATE[:-1], "1\n2"], ("whole number",)),
        ([*ESTIMATE, "--data-parallel", "0"], ("data_parallel is 0", "at least 1")),
        ([*ESTIMATE, "--data-parallel", "1e3"], ("--data-parallel", "'1e3'", "whole number")),
        ([*ESTIMATE, "--optimizer", "adam8bit"], ("'adam8bit'", "'adam-8bit'", "adam-fp32")),
        ([*MEASURE, "--optimizer", ""], ("''", "adam-fp32, adam-bf16, adam-8bit")),
        ([*ESTIMATE, "--batch-size", "0"], ("batch_size is 0", "at least 1")),
        ([*ESTIMATE, "--batch-size", "two"], ("--batch-size", "'two'", "whole number", "at least 1")),
        ([*ESTIMATE, "--accounting", "workshop", "--policy", "full"], ("workshop", "'full'", "none, attention")),
        ([*ESTIMATE, "--accounting", "paper", "--policy", "pointwise"], ("paper", "'pointwise'", "core_attention")),
        ([*ESTIMATE, "--accounting", "workshop", "--attention", "flash"], ("workshop", "flash", "eager")),
        (["estimate", "--model", "gpt-22b", "--seq-len", "8"], ("'gpt-22b'", "paper")),
        (["measure", "--model", "gpt-22b", "--seq-len", "8"], ("'gpt-22b'", "Llama")),
        ([*MEASURE, "--accounting", "llama"], ("--accounting",)),
        ([*MEASURE[:-1], "0"], ("seq_len is 0", "at least 1")),
        ([*MEASURE, "--policy", "a\nb"], ("unknown policy", "full")),
        (["measure", "--model", "llama-3.2-1b", "--seq-len", "1" + "0" * 30], ("seq_len",)),
        ([*ESTIMATE[:-1], "1" + "0" * 200, "--attention", "eager"], ("seq_len",)),
        (["models", "--model", "x"], ("--model",)),
        (["estimate", "--hf-config", "", "--seq-len", "8"], ("config.json", "empty")),
        (["estimate", "--hf-config", "a" * 300, "--seq-len", "8"], ("cannot read", "too long")),
        ([*ESTIMATE, "--policy", "every_" + "9" * 5000], ("unknown policy", "every_N")),
        ([*ESTIMATE, "--jsn", "a\nb"], ("'--jsn'", "'--json'", "actckpt estimate --help")),
        ([*ESTIMATE, "--js\non"], ("unknown option", "'--json'")),
        # what is mistyped comes before what is missing
        (["--bogus"], ("unknown option '--bogus'", "--version", "(try actckpt --help)")),
        (["--bogus", "estimate"], ("unknown option '--bogus'", "--version")),
        (["estimate", "--model", "llama-3.1-8b", "--seqlen", "10"], ("'--seqlen'", "'--seq-len'", "estimate --help")),
        (["estimate", "--model", "llama-3.1-8b", "--seqlen=10"], ("'--seqlen'", "'--seq-len'")),
        (["estimate", "-s", "10"], ("unknown option '-s'", "--seq-len")),
        ([*ESTIMATE, "extra"], ("unexpected 'extra'", "(try actckpt estimate --help)")),
        (["models", "a\nb"], ("unexpected 'a\\nb'", "(try actckpt models --help)")),
        ([*ESTIMATE, "--policy", "FFN"], ("'FFN'", "did you mean 'ffn'")),
        ([*ESTIMATE, "--policy", "every_0"], ("'every_0'", "at least 2")),
        ([*ESTIMATE, "--pol", "full"], ("--pol",)),
    ],
)
def test_wrong_options_are_refused_in_one_line(
    options: list[str], parts: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    err = refuse(*options, capsys=capsys)
    for part in parts:
        assert part in err


@pytest.mark.parametrize("command", ["estimate", "measure"])
@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[1, 2]", "an object"),
        ('"llama"', "an object"),
        ("{}", "use one of llama, mistral, qwen2, qwen3"),
        (json.dumps(HF | {"model_type": "gemma2"}), "'gemma2' is not modelled"),
        (json.dumps(HF | {"model_type": "mixtral"}), "mixture of experts"),
        (json.dumps({k: v for k, v in HF.items() if k != "hidden_size"}), "hidden_size"),
        (json.dumps(HF | {"num_attention_heads": 5}), "does not divide into 5 heads"),
        (json.dumps(HF | {"num_key_value_heads": 3}), "4 heads do not divide into 3 key/value heads"),
        (json.dumps(HF | {"hidden_size": "64"}), "hidden_size is '64': it must be a whole number"),
        (json.dumps(HF | {"num_key_value_heads": 0}), "n_kv_heads is 0"),
        (json.dumps(HF | {"num_hidden_layers": 10**12}), "must be at most"),
        (json.dumps(HF | QWEN_WINDOW), "a sliding window on 1 of 2 layers is not modelled: it must be on all of them"),
    ],
)
def test_a_wrong_config_json_is_refused_in_one_line(
    command: str, content: str, part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.json"
    file.write_text(content)
    assert part in refuse(command, "--hf-config", str(file), "--seq-len", "32", capsys=capsys)


def test_a_config_json_that_is_not_there_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (tmp_path, tmp_path / "none.json"):
        err = refuse("estimate", "--hf-config", str(path), "--seq-len", "32", capsys=capsys)
        assert "No such file" in err
        assert str(path) in err
    (tmp_path / "weights.bin").write_bytes(bytes(range(256)))
    assert "not JSON" in refuse(
        "estimate", "--hf-config", str(tmp_path / "weights.bin"), "--seq-len", "32", capsys=capsys
    )


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"actckpt {actckpt.__version__}\n"


def test_an_output_that_cannot_be_written_ends_in_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "actckpt", "models"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "cannot write the answer" in done.stderr


def test_a_terminal_without_the_sign_for_times_gets_its_table() -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-m", "actckpt", *ESTIMATE], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "One block keeps" in done.stdout
