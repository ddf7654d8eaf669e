"""Training states: bytes of parameters, gradients and optimizer, against PyTorch's own."""

import pytest
import torch

from actckpt import OPTIMIZERS, PRESETS, InputError, estimate, measure
from actckpt.states import States

N = PRESETS["llama-3.1-8b"].n_parameters


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_states_are_what_the_optimizer_allocates(name: str) -> None:
    size = 1000
    weight = torch.nn.Parameter(torch.zeros(size, dtype=torch.float32 if name == "adam-fp32" else torch.bfloat16))
    weight.grad = torch.zeros_like(weight)
    if name == "adam-8bit":
        # codes and scales of two moments, as torchao.optim.OptimState8bit has them; a block that is not full counts
        kept = [torch.zeros(size, dtype=torch.uint8), torch.zeros(4)] * 2
    else:
        master = weight if weight.dtype == torch.float32 else torch.nn.Parameter(weight.detach().float())
        master.grad = torch.zeros_like(master)
        optimizer = torch.optim.Adam([master])
        optimizer.step()
        kept = [optimizer.state[master][moment] for moment in ("exp_avg", "exp_avg_sq")]
        kept += [master.detach()] if master is not weight else []
    states = States.of(size, optimizer=name)
    assert (states.parameters_bytes, states.gradients_bytes) == (weight.nbytes, weight.grad.nbytes)
    assert states.optimizer_bytes == sum(tensor.nbytes for tensor in kept)


def test_bytes_for_each_parameter() -> None:
    assert {name: States.of(256 * 512, optimizer=name).bytes / (256 * 512) for name in OPTIMIZERS} == {
        "adam-fp32": 16,
        "adam-bf16": 16,
        "adam-8bit": 2 + 2 + 2 + 2 * 4 / 256,
    }


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("ranks", [1, 7, 1024])
def test_ranks_share_them_evenly(name: str, ranks: int) -> None:
    states = estimate("llama-3.1-8b", seq_len=64, data_parallel=ranks, optimizer=name).states
    assert states.bytes == States.of(-(-N // ranks), optimizer=name).bytes
    assert (states.data_parallel, states.optimizer) == (ranks, name)


def test_nothing_else_of_a_step_depends_on_them() -> None:
    steps = [estimate("llama-3.1-8b", seq_len=4096, policy="ffn", optimizer=name) for name in OPTIMIZERS]
    assert len({(step.working_bytes, step.total_bytes, step.flops) for step in steps}) == 1
    assert len({step.peak_bytes - step.states.bytes for step in steps}) == 1


def test_measure_has_the_same_states() -> None:
    how = {"seq_len": 32, "data_parallel": 3, "optimizer": "adam-8bit"}
    assert measure("llama-3.2-1b", **how).states == estimate("llama-3.2-1b", **how).states


@pytest.mark.parametrize("odd", ["adam", "ADAM-FP32", "", None, 8, ["adam-fp32"]])
def test_an_unknown_optimizer_is_refused(odd: object) -> None:
    for ask in (estimate, measure):
        with pytest.raises(InputError, match="use one of adam-fp32, adam-bf16, adam-8bit"):
            ask("llama-3.2-1b", seq_len=8, optimizer=odd)


def test_each_states_its_source() -> None:
    for name, optimizer in OPTIMIZERS.items():
        assert optimizer.name == name
        assert optimizer.source
