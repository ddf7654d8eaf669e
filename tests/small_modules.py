"""Modules and tensors that several tests of what is kept take."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Of(nn.Module):
    """A module whose forward is a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def given(*shape: int, **options: Any) -> Tensor:
    return torch.randn(shape, requires_grad=True, **options)


def two_linears() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 10), nn.GELU(), nn.Linear(10, 6))
