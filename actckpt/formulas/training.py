"""What training keeps whatever the batch: parameters, gradients and the optimizer's state, on one rank or on many."""

from __future__ import annotations

from actckpt.config import ModelConfig
from actckpt.errors import InputError
from actckpt.step import States

# Everything in float32, Adam with two moments. A bfloat16 model with bfloat16 gradients and float32 main weights in the
# optimizer divides the same 16 bytes otherwise: 2 + 2 + 12.
PARAMETER_BYTES, GRADIENT_BYTES, ADAM_BYTES = 4, 4, 8


def training_states(config: ModelConfig, data_parallel: int = 1) -> States:
    """The bytes that the model's states take on each of `data_parallel` ranks that share them evenly.

    Sharing parameters, gradients and optimizer states is ZeRO stage 3 (arXiv 1910.02054, §5), as `fully_shard` does it.

    Raises:
        InputError: `data_parallel` is not a whole number of at least 1.
    """
    if not isinstance(data_parallel, int) or data_parallel < 1:
        raise InputError(f"data_parallel is {data_parallel!r}: it must be a whole number of ranks, at least 1")
    parameters = -(-config.n_parameters // data_parallel)
    return States(
        parameters_bytes=PARAMETER_BYTES * parameters,
        gradients_bytes=GRADIENT_BYTES * parameters,
        optimizer_bytes=ADAM_BYTES * parameters,
    )
