"""Put a policy on a Llama with one call: the gradients stay what they were."""

import torch

# --8<-- [start:apply]
import actckpt

config = actckpt.ModelConfig(
    "tiny",
    hidden_size=64,
    n_layers=2,
    n_heads=4,
    n_kv_heads=2,
    head_dim=16,
    ffn_size=224,
    vocab_size=128,
)
model = actckpt.Llama(config)

# before fully_shard and before the blocks are compiled; "none" takes it off again
model = actckpt.apply(model, "full")
# --8<-- [end:apply]


def gradients(model: torch.nn.Module) -> tuple[torch.Tensor, ...]:
    tokens = torch.arange(48).view(2, 24)
    return torch.autograd.grad(model(tokens, tokens), list(model.parameters()))


rebuilt = gradients(model)
stored = gradients(actckpt.apply(model, "none"))
assert all(map(torch.equal, stored, rebuilt)), "a policy changes a gradient"
print(f"{len(stored)} gradients, equal to the bit")
