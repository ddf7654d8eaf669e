# ---
# title: Train a tiny Llama under every policy
# description: >-
#   One model, one seed, one text, every policy: the loss curves are equal bit for bit. The memory and the FLOPs are not.
# ---

# %% [markdown]
# # Train a tiny Llama under every policy
#
# **Does gradient checkpointing change what a model learns?** It must not. Recomputing repeats the same arithmetic, in the
# same order, on the same numbers. So the same seed and the same data have to give the same losses and the same weights,
# down to the last bit. Only the memory and the amount of compute may differ. This lab tests both, on a CPU, with a real
# model.

# %%
import inspect

import torch
import torch.utils.checkpoint
from IPython.display import Markdown

from actckpt import POLICIES, Llama, ModelConfig, apply
from actckpt.figures.labs import loss_curves, saved_by_policy
from actckpt.measurement import measure_step

# one thread: sums are taken in one order
torch.set_num_threads(1)

# %% [markdown]
# ## The model and its text
#
# The model has the parts of Llama 3.1: RMSNorm, RoPE, grouped queries, SwiGLU, flash attention. It reads bytes, so its
# vocabulary is small. Three policies checkpoint only every second, third or fourth block. The depth is a multiple of two
# and of three, but not of four. The text is the source code of PyTorch's own `torch.utils.checkpoint`.

# %%
config = ModelConfig(
    name="tiny",
    hidden_size=64,
    n_layers=6,
    n_heads=4,
    n_kv_heads=2,
    head_dim=16,
    ffn_size=224,
    vocab_size=256,
)
SEQ_LEN, BATCH_SIZE, N_STEPS = 64, 4, 20

text = torch.tensor(list(inspect.getsource(torch.utils.checkpoint).encode()))

print(f"{config.n_parameters:,} parameters in {config.n_layers} blocks")
print(f"{len(text):,} bytes of text")
print(f"{N_STEPS} steps of {BATCH_SIZE} sequences of {SEQ_LEN} bytes each")
print(f"torch {torch.__version__} on one thread of a CPU, in float32")

# %% [markdown]
# ## One run for each policy
#
# `apply` puts a policy on the model. Nothing else in the training loop changes. The last step runs once more under the
# recorder that `measure` uses: it counts what autograd keeps, and every FLOP.


# %%
def batches():
    generator = torch.Generator().manual_seed(1)
    for _ in range(N_STEPS):
        starts = torch.randint(len(text) - SEQ_LEN, (BATCH_SIZE, 1), generator=generator)
        window = text[starts + torch.arange(SEQ_LEN + 1)]
        yield window[:, :-1], window[:, 1:]


def train(policy):
    torch.manual_seed(0)
    model = apply(Llama(config), policy)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.005)
    losses = []
    for tokens, targets in batches():
        loss = model(tokens, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    weights = torch.nn.utils.parameters_to_vector(model.parameters())
    return losses, weights, measure_step(model, tokens, targets, policy)


runs = {policy: train(policy) for policy in POLICIES}

# %% [markdown]
# ## The losses are equal
#
# They are equal bit for bit, not just nearly. If a run differed from the others, the chart would show a second line.

# %%
losses = {policy: run[0] for policy, run in runs.items()}
weights = {policy: run[1] for policy, run in runs.items()}
steps = {policy: run[2] for policy, run in runs.items()}

same_losses = sum(losses[policy] == losses["none"] for policy in POLICIES)
same_weights = sum(torch.equal(weights[policy], weights["none"]) for policy in POLICIES)
print(f"{same_losses} of {len(POLICIES)} policies have every loss of none, bit for bit")
print(f"{same_weights} of {len(POLICIES)} policies end with every weight of none, bit for bit")

# %% name="losses" made_by="actckpt.figures.labs.loss_curves(losses)" test="test_figures_labs::test_loss_curves" caption="The loss of every policy, one line on top of the other." assumes="The tiny Llama above, trained on this page."
loss_curves(losses)

# %% [markdown]
# ## Memory and FLOPs are not
#
# Each row is one measured step. *Kept* is what all blocks keep for the backward pass. *At the peak* is the most that was
# in use, without parameters, gradients and optimizer. *Recomputed* is what the backward pass ran a second time, and
# *share* compares that with a step that recomputes nothing. PyTorch counts only the FLOPs of matrix products.

# %%
rows = [
    f"| `{name}` | {step.total_bytes:,} | {step.working_bytes:,} "
    f"| {step.flops.recompute:,} | {step.flops.overhead:.1%} |"
    for name, step in steps.items()
]
head = "| policy | kept, bytes | at the peak, bytes | recomputed, FLOPs | share |"
Markdown("\n".join([head, "|---|---|---|---|---|", *rows]))

# %% name="kept" made_by="actckpt.figures.labs.saved_by_policy(steps)" test="test_figures_labs::test_saved_by_policy" caption="What all blocks keep under each policy; beside each bar, what it recomputes, as a share of a step." assumes="The tiny Llama above in float32, one step, flash attention."
saved_by_policy(list(steps.values()))

# %% [markdown]
# Four rows are worth a closer look.

# %%
none, full, both = steps["none"], steps["full"], steps["both"]
cheap, core = steps["pointwise"], steps["core_attention"]


def less(step):
    return f"{1 - step.total_bytes / none.total_bytes:.1%}"


Markdown(f"""
- `full` keeps {less(full)} less than `none`, and no policy keeps less.
- `both` keeps {both.total_bytes / full.total_bytes:.1f} times what `full` does,
  and recomputes {both.flops.overhead:.1%} rather than {full.flops.overhead:.1%}:
  the last product of each half is not run again.
- `pointwise` keeps {less(cheap)} less, and recomputes {cheap.flops.recompute} FLOPs:
  no product is run again.
- `core_attention` keeps {less(core)} less:
  flash attention has left almost nothing to save.
""")

# %% [markdown]
# ## What to do about it
#
# Choose a policy by its memory and its time only. It is not a hyperparameter, and a run may change it between two steps.
# If two of your own runs differ under two policies, the policy is not the reason. Look for something that is not
# deterministic: dropout without a saved random state, atomic sums, another order of a reduction.
#
# The script behind this page, <a href="tiny-llama.py" download>tiny-llama.py</a>, runs unchanged, in a shell or as a notebook.
