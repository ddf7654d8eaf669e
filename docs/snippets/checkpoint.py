"""Checkpoint a block with PyTorch alone: the gradients stay what they were."""

# --8<-- [start:by-hand]
import torch
from torch.utils.checkpoint import checkpoint


class Checkpointed(torch.nn.Module):
    """Keeps a block's input, and runs the block again in the backward pass."""

    def __init__(self, block: torch.nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return checkpoint(self.block, x, use_reentrant=False)
        # --8<-- [end:by-hand]


blocks = [torch.nn.Sequential(torch.nn.Linear(16, 64), torch.nn.GELU(), torch.nn.Linear(64, 16)) for _ in range(3)]
x = torch.randn(8, 16)


def gradients(model: torch.nn.Module) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(model(x).square().sum(), list(model.parameters()))


stored = gradients(torch.nn.Sequential(*blocks))
rebuilt = gradients(torch.nn.Sequential(*map(Checkpointed, blocks)))
assert all(map(torch.equal, stored, rebuilt)), "a checkpoint changes a gradient"
print(f"{len(stored)} gradients, equal to the bit")
