"""Small modules made at random keep what an oracle counts: views, copies, changes in place, shared inputs, dtypes."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from kept_by_hooks import kept_by_hooks
from torch import Tensor, nn

from actckpt import ledger


class Twice(torch.autograd.Function):
    """Saves its input and its output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x * 2
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        x, y = ctx.saved_tensors
        return grad * (y / x)


# each takes one tensor of any shape [a, b] of a real dtype, and gives one
ONE: dict[str, Callable[[Tensor], Tensor]] = {
    "exp": torch.exp,
    "sigmoid": torch.sigmoid,
    "square": lambda x: x**2,
    "softmax": lambda x: x.softmax(-1),
    "transpose": lambda x: x.t(),
    "contiguous": lambda x: x.t().contiguous(),
    "half of it": lambda x: x[:, : (x.shape[1] + 1) // 2],
    "every second": lambda x: x[::2],
    "expanded copy": lambda x: x.expand(3, *x.shape).reshape(-1, x.shape[1]),
    "flat": lambda x: x.reshape(1, -1),
    "clone": torch.clone,
    "in place": lambda x: x.clone().mul_(2).add_(1),
    "in place on what is saved by nobody": lambda x: (x + 1).sigmoid_(),
    "into a slice": lambda x: _set(x * 1),
    "double": lambda x: x.double().sin().to(x.dtype),
    "bfloat16": lambda x: x.bfloat16().sin().to(x.dtype),
    "complex": lambda x: torch.polar(x.abs(), x).imag,
    "custom": Twice.apply,
    "dead": lambda x: (x.cos(), x.exp() * x)[0],
    "detached": lambda x: x + x.detach().exp(),
    "max": lambda x: x.max(dim=-1, keepdim=True).values * x,
    "rows by number": lambda x: x[torch.arange(x.shape[0], device=x.device, dtype=torch.int32)],
    "mask": lambda x: x.masked_fill(x > 0, 0.5),
    "norm": lambda x: F.layer_norm(x, x.shape[-1:]),
    "split": lambda x: torch.cat([part * 2 for part in x.split(2)]),
    "stack": lambda x: torch.stack([x, x]).prod(0),
    "gelu of a linear": lambda x: F.gelu(x @ x.t()),
}
TWO: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "product": lambda x, y: x.reshape(-1)[:1] * y,
    "sum": lambda x, y: x.reshape(-1)[:1] + y,
    "matmul": lambda x, y: x @ x.t() * y.mean(),
    "outer": lambda x, y: torch.outer(x.reshape(-1)[:3], y.reshape(-1)[:2]),
    "where": lambda x, y: torch.where(y > 0, y, x.reshape(-1)[0]),
}
OUTPUTS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "a tensor": lambda last, any_: last,
    "a tuple": lambda last, any_: (last, any_),
    "a dict": lambda last, any_: {"last": [last], "none": None},
    "a sum": lambda last, any_: last.sum(),
}


def _set(x: Tensor) -> Tensor:
    x[:1] = x[-1:].clone()
    return x


class Random(nn.Module):
    """Steps one after the other; each takes tensors that are there already."""

    def __init__(self, steps: list[tuple[str, int, int]], output: str) -> None:
        super().__init__()
        self.steps, self.output = steps, output
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, *inputs: Tensor) -> Any:
        tensors = [*inputs, inputs[0] * self.weight]
        for name, one, two in self.steps:
            x, y = tensors[one % len(tensors)], tensors[two % len(tensors)]
            tensors.append(ONE[name](x) if name in ONE else TWO[name](x, y))
        return OUTPUTS[self.output](tensors[-1] * self.weight, tensors[len(tensors) // 2])


STEP = st.tuples(st.sampled_from([*ONE, *TWO]), st.integers(0, 9), st.integers(0, 9))
# the second of two inputs is the first one, a view of it, or its own
PAIRS: dict[str, Callable[[Tensor], tuple[Tensor, ...]]] = {
    "one": lambda x: (x,),
    "the same": lambda x: (x, x),
    "a view": lambda x: (x, x.detach()[1:].requires_grad_()),
    "another": lambda x: (x, torch.ones(2, 3, device=x.device)),
    "a base and its row, expanded": lambda x: (x.detach()[:1].expand(4, 3), x),
}


@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(STEP, min_size=1, max_size=8),
    pair=st.sampled_from(list(PAIRS)),
    output=st.sampled_from(list(OUTPUTS)),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    device=st.sampled_from(["cpu", "meta"]),
)
def test_a_random_module_keeps_what_autograd_holds(
    steps: list[tuple[str, int, int]], pair: str, output: str, dtype: torch.dtype, device: str
) -> None:
    torch.set_num_threads(1)
    module = Random(steps, output).to(device)
    inputs = PAIRS[pair](torch.ones(4, 3, dtype=dtype, device=device, requires_grad=True))
    kept = ledger(module, *inputs, as_on="here")
    assert kept.bytes == kept_by_hooks(module, *inputs)
