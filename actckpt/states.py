"""States: what training keeps whatever the batch, for each way in which an optimizer holds a parameter."""

from __future__ import annotations

from dataclasses import dataclass

from actckpt.errors import unknown


@dataclass(frozen=True)
class Stored:
    """A number that is kept for every parameter, or for every so many of them.

    Attributes:
        item_bytes: Its size.
        parameters: How many parameters share one.
    """

    item_bytes: int
    parameters: int = 1

    def bytes(self, n_parameters: int) -> int:
        """What it takes for so many parameters."""
        return self.item_bytes * -(-n_parameters // self.parameters)


@dataclass(frozen=True)
class Optimizer:
    """How an optimizer keeps the training states.

    Attributes:
        name: The key in `OPTIMIZERS`.
        label: How a page names it.
        description: What it keeps, in words.
        parameters: A weight.
        gradients: Its gradient.
        optimizer: Each number that the optimizer keeps in addition.
        source: Where that is stated.
    """

    name: str
    label: str
    description: str
    parameters: Stored
    gradients: Stored
    optimizer: tuple[Stored, ...]
    source: str


_FLOAT32, _BFLOAT16, _INT8 = Stored(4), Stored(2), Stored(1)
_SCALE = Stored(4, parameters=256)

OPTIMIZERS: dict[str, Optimizer] = {
    optimizer.name: optimizer
    for optimizer in (
        Optimizer(
            "adam-fp32",
            "fp32 Adam",
            "weights, gradients and Adam's two moments in float32",
            _FLOAT32,
            _FLOAT32,
            (_FLOAT32, _FLOAT32),
            "torch.optim.Adam on float32 parameters, as fully_shard keeps them",
        ),
        Optimizer(
            "adam-bf16",
            "bf16 + fp32 master",
            "weights and gradients in bfloat16; a float32 copy of the weights and both moments in the optimizer",
            _BFLOAT16,
            _BFLOAT16,
            (_FLOAT32, _FLOAT32, _FLOAT32),
            "Rajbhandari et al., arXiv 1910.02054, §3.1: 2 + 2 + 12 bytes",
        ),
        Optimizer(
            "adam-8bit",
            "8-bit Adam",
            "weights and gradients in bfloat16; both moments in 8 bits, with a float32 scale for 256, and no copy",
            _BFLOAT16,
            _BFLOAT16,
            (_INT8, _SCALE, _INT8, _SCALE),
            "Dettmers et al., arXiv 2110.02861; blocks of 256 as torchao.optim.OptimState8bit has them. Small tensors, "
            "whose moments it leaves in bfloat16, count as all others. Its table of 256 numbers a tensor is left out.",
        ),
    )
}


def get_optimizer(optimizer: str) -> Optimizer:
    """The optimizer of that name.

    Raises:
        InputError: The name is unknown.
    """
    if not isinstance(optimizer, str) or optimizer not in OPTIMIZERS:
        raise unknown("optimizer", optimizer, OPTIMIZERS)
    return OPTIMIZERS[optimizer]


@dataclass(frozen=True)
class States:
    """What training keeps in memory whatever the batch, in bytes on one rank.

    Attributes:
        parameters_bytes: The weights.
        gradients_bytes: Their gradients.
        optimizer_bytes: What the optimizer keeps in addition.
        data_parallel: The number of ranks that share them.
        optimizer: A key of `OPTIMIZERS`.
    """

    parameters_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    data_parallel: int = 1
    optimizer: str = "adam-fp32"

    @classmethod
    def of(cls, n_parameters: int, data_parallel: int = 1, optimizer: str = "adam-fp32") -> States:
        """The states of a model that `data_parallel` ranks share evenly.

        All three are shared: ZeRO stage 3 (arXiv 1910.02054, §5), as `fully_shard` does it.

        Raises:
            InputError: The optimizer is unknown.
        """
        kept, share = get_optimizer(optimizer), -(-n_parameters // data_parallel)
        return cls(
            kept.parameters.bytes(share),
            kept.gradients.bytes(share),
            sum(stored.bytes(share) for stored in kept.optimizer),
            data_parallel,
            optimizer,
        )

    @property
    def bytes(self) -> int:
        """The sum of the three."""
        return self.parameters_bytes + self.gradients_bytes + self.optimizer_bytes
