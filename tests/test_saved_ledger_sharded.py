"""What sharded models keep, in one process: gathered parameters are apart, and a rank's tensors have a rank's size."""

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from test_measurement import ODD
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.testing._internal.distributed.fake_pg import FakeStore

from actckpt import Llama, apply, ledger

pytestmark = pytest.mark.xdist_group("process group")


@pytest.fixture
def one_rank(tmp_path: object) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture
def two_ranks() -> Iterator[None]:
    dist.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    yield
    dist.destroy_process_group()


def llama() -> Llama:
    torch.manual_seed(0)
    return Llama(ODD)


@pytest.mark.parametrize("policy", ["none", "full", "save_attention"])
def test_a_model_under_fsdp_keeps_what_it_keeps_without(one_rank: None, policy: str) -> None:  # M2
    tokens = torch.zeros(2, 9, dtype=torch.int64)
    alone = ledger(apply(llama(), policy), tokens, tokens)
    sharded = apply(llama(), policy)
    for layer in sharded.layers:
        fully_shard(layer)
    fully_shard(sharded)
    kept = ledger(sharded, tokens, tokens)
    assert kept.bytes == alone.bytes
    # the root's own parameters stay gathered until its backward pass: embedding, last norm and head
    root = sum(p.nbytes for name, p in llama().named_parameters() if not name.startswith("layers."))
    assert kept.apart["gathered"] == root
    assert ledger(sharded, tokens, tokens).bytes == alone.bytes


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(8, 12, bias=False), nn.Linear(12, 8, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.up(x).relu())


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_under_tensor_parallelism_a_rank_keeps_its_part(two_ranks: None, device: str) -> None:  # M3
    mesh = init_device_mesh("cpu", (2,))
    plan = {"up": ColwiseParallel(), "down": RowwiseParallel()}
    x = torch.zeros(5, 8, device=device, requires_grad=True)
    whole = ledger(Mlp().to(device), x, as_on="here")
    part = ledger(parallelize_module(Mlp().to(device), mesh, plan), x, as_on="here")
    # the input is on each rank, and the hidden state, which relu and down share, is split
    assert (whole.bytes, part.bytes) == (4 * 5 * (8 + 12), 4 * 5 * (8 + 6))
