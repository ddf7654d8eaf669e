"""What models of other people keep, by family: an oracle's count on a CPU and on meta, and CUDA's beside the CPU's."""

import pytest
import torch
from families import KINDS, build, inputs
from kept_by_hooks import kept_by_hooks

from actckpt import ledger

pytest.importorskip("transformers")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(("family", "attention"), KINDS)
def test_a_family_keeps_what_autograd_holds(family: str, attention: str, device: str) -> None:
    model, batch = build(family, attention, device), inputs(family, device)
    kept = ledger(model, as_on="here", **batch)
    torch.manual_seed(0)
    assert kept.bytes == kept_by_hooks(model, **batch)
    assert all(saved.saved_by for saved in kept)
    assert all(saved.source for saved in kept if saved.op != "input")


# what the CPU has and CUDA has not, and the other way round
STATE = ("rng_state", "unused", "philox_seed", "philox_offset")


@pytest.mark.parametrize("family", ["llama", "qwen3", "qwen3-moe", "mixtral"])
def test_on_cuda_only_the_state_of_the_random_numbers_is_more(family: str) -> None:
    cpu, cuda = ledger(build(family), **inputs(family)), ledger(build(family, device="meta"), **inputs(family, "meta"))
    assert "flash attention" in cuda.kernels
    assert {saved.result for saved in cuda if saved.result in STATE} == {"rng_state", "unused"}
    without = [(s.shape, s.dtype) for s in cuda if s.result not in STATE]
    assert sorted(without) == sorted((s.shape, s.dtype) for s in cpu)


def test_on_cuda_dropout_keeps_a_byte_an_element_and_attention_no_scores() -> None:
    cpu, cuda = ledger(build("gpt2"), **inputs("gpt2")), ledger(build("gpt2", device="meta"), **inputs("gpt2", "meta"))
    scores = (2, 4, 32, 32)
    assert any(saved.shape == scores for saved in cpu)
    assert not any(saved.shape == scores for saved in cuda)
    masks = [saved for saved in cuda if saved.savers == "NativeDropoutBackward0.result1"]
    # after the embeddings, and twice in each of two layers
    assert [mask.dtype for mask in masks] == ["bool"] * 5


def test_a_low_rank_adapter_keeps_what_autograd_holds() -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"])
    model, batch = peft.get_peft_model(build("llama"), config), inputs("llama")
    assert ledger(model, **batch).bytes == kept_by_hooks(model, **batch)


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpointed_layer_keeps_its_inputs(reentrant: bool) -> None:
    model, batch = build("llama"), inputs("llama")
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    kept = ledger(model, **batch).where(lambda saved: "checkpoint.input" in saved.savers)
    # the hidden states of two layers, the cosines and the sines, and the positions
    assert sorted(saved.shape for saved in kept) == [(1, 32, 16), (1, 32, 16), (2, 32, 64), (2, 32, 64), (32,)]


def test_it_says_so_of_a_model_that_is_evaluated_as_of_one_that_trains() -> None:
    model, batch = build("gpt2", "eager").eval(), inputs("gpt2")
    assert ledger(model, **batch).bytes == kept_by_hooks(model, **batch)
