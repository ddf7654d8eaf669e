# ---
# title: Flash attention, tile by tile
# description: >-
#   The online softmax on real numbers: the running maximum, the running sum and the output after each tile, and how far
#   the package's reference and its kernel are from float64.
# ---

# %% [markdown]
# # Flash attention, tile by tile
#
# **How can a softmax be right before it has seen its whole row?** It cannot, but it can be corrected each time that more of
# the row arrives. Flash attention gets a row of scores one tile at a time. For each query it carries two numbers and
# a vector along. This lab prints them after every tile, for one small head.

# %%
import os

# the kernel runs in Triton's interpreter, without a GPU; triton reads this as it is imported
os.environ["TRITON_INTERPRET"] = "1"

import math

import torch
from IPython.display import Markdown
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from actckpt import flash_attention, ledger
from actckpt.figures.labs import online_softmax
from actckpt.llama import eager_attention
from actckpt.ops.attention.config import INTERPRETER
from actckpt.ops.implementation import has_triton

torch.set_num_threads(1)

# %% [markdown]
# ## One head, one query
#
# A tile is as wide here as in the kernel. We follow the last query, which sees every key. The queries are larger than
# usual, so that the scores differ enough to show the effect.

# %%
TILE = INTERPRETER.forward.block_n
S, D = 4 * TILE, 16

generator = torch.Generator().manual_seed(11)
q, k, v = torch.randn(3, 1, 1, S, D, generator=generator, dtype=torch.float64)
q = 3 * q
scale = 1 / math.sqrt(D)

query, keys, values = q[0, 0, -1], k[0, 0], v[0, 0]
scores = scale * keys @ query
print(f"{S} scores from {scores.min():.2f} to {scores.max():.2f}")
print(f"{S // TILE} tiles of {TILE} keys")

# %% [markdown]
# ## Why the maximum is needed
#
# A softmax divides exponentials by their sum. In half precision the exponential of a large score overflows, and the row
# is lost. If the largest score of the row is subtracted first, no exponential is above one. Scores three times as large
# show it.

# %%
large = (3 * scores).half()
print("the largest number in float16      ", torch.finfo(torch.float16).max)
print("the largest exponential            ", large.exp().max().item())
print("after subtracting the largest score", (large - large.max()).exp().max().item())

# %% [markdown]
# ## The loop
#
# Each tile brings its scores $s$ and a new maximum $m$. First the sums so far are scaled down to that maximum. Then the
# tile is added to the sum $l$ and to the weighted values $a$. No score is kept after its tile.

# %%
m, l, a = torch.tensor(-torch.inf).double(), torch.tensor(0.0).double(), torch.zeros(D).double()
rows, parts = [], []
for tile in range(S // TILE):
    here = slice(tile * TILE, (tile + 1) * TILE)
    s = scale * keys[here] @ query
    new_m = torch.maximum(m, s.max())
    rescale = torch.exp(m - new_m)
    p = torch.exp(s - new_m)
    l = l * rescale + p.sum()
    a = a * rescale + p @ values[here]
    m = new_m

    # what attention over the keys so far gives, all at once in float64
    at_once = torch.softmax(scores[: here.stop], 0) @ values[: here.stop]
    error = (a / l - at_once).abs().max()
    rows.append((s.max(), m, rescale, l, a[0], a[0] / l, error))
    before = parts[-1] if parts else []
    parts.append([part * rescale.item() for part in before] + [p.sum().item()])


def table(head, rows):
    return Markdown("\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]))


table(
    ("tile", "its largest score", "m", "rescale", "l", "a[0]", "a[0] / l", "error of a / l"),
    [
        [str(tile), *(f"{x:.4f}" for x in numbers), f"{error:.0e}"]
        for tile, (*numbers, error) in enumerate(rows, start=1)
    ],
)

# %% [markdown]
# The last column compares $a / l$ with a softmax over all keys so far, computed at once. The output is right for the keys
# seen so far after every tile, not only after the last. The chart shows which tiles the sum $l$ comes from.

# %% name="sums" made_by="actckpt.figures.labs.online_softmax(parts)" test="test_figures_labs::test_online_softmax" caption="The sum of exponentials after each tile, by the tile that it came from. Where a larger score appears, all that came before shrinks." assumes="The last query of the head above; the largest score so far is subtracted."
online_softmax(parts)

# %% [markdown]
# ## What is kept of the row
#
# The backward pass needs the probabilities again. It gets them from the scores with one exponential, if it knows
# $m + \log(l)$, the logarithm of the whole sum. Nothing else is kept of the row.

# %%
lse = m + torch.log(l)
print(f"m + log l                          {lse:.12f}")
print(f"torch.logsumexp of all scores      {torch.logsumexp(scores, 0):.12f}")

again = torch.exp(scores - lse)
print(f"sum of the probabilities           {again.sum():.12f}")
difference = (again - torch.softmax(scores, 0)).abs().max()
print(f"largest difference from softmax    {difference:.0e}")

# %% [markdown]
# ## The reference and the kernel
#
# The package computes all queries this way, in two implementations of one op: a reference in PyTorch, and a kernel in
# Triton. Both get the same numbers in float32, with a causal mask. Each has its own backward pass, which recomputes the
# scores from the log-sum-exp. The table compares them with plain attention in float64, and plain attention in float32
# with it too.


# %%
def results(attention, dtype):
    inputs = [x.to(dtype, copy=True).requires_grad_() for x in (q, k, v)]
    output = attention(*inputs)
    output.backward(torch.arange(S * D).view_as(output).cos().to(dtype))
    return [output, *(x.grad for x in inputs)]


def flash(impl):
    return lambda *inputs: flash_attention(*inputs, causal=True, impl=impl)


def plain(q, k, v):
    hidden = torch.ones(S, S, dtype=torch.bool).triu(1)
    return torch.softmax((scale * q @ k.mT).masked_fill(hidden, -torch.inf), -1) @ v


exact = results(plain, torch.float64)
candidates = {"plain attention": plain, "reference": flash("reference")}
if has_triton():
    candidates["kernel, interpreted"] = flash("triton")
else:
    print("triton is not installed here: the kernel is left out")

rows = []
for name, attention in candidates.items():
    pairs = zip(results(attention, torch.float32), exact, strict=True)
    rows.append([name, *(f"{(one - other).abs().max():.1e}" for one, other in pairs)])
table(("largest error", "output", "dq", "dk", "dv"), rows)

# %% [markdown]
# ## What it saves, and what it costs
#
# This is what autograd keeps for this head, for attention that stores its scores and for the op. With longer rows the
# difference would be larger, because the scores grow with the square of the length.


# %%
class Eager(nn.Module):
    def forward(self, q, k, v):
        return eager_attention(q, k, v)


class Flash(nn.Module):
    def forward(self, q, k, v):
        return flash_attention(q, k, v, causal=True)


inputs = [x.float().requires_grad_() for x in (q, k, v)]
kept = {module.__name__: ledger(module(), *inputs) for module in (Eager, Flash)}
table(
    ("kept by", "tensor", "shape", "bytes"),
    [
        [name, saved.name, " × ".join(map(str, saved.shape)), f"{saved.bytes:,}"]
        for name, of_module in kept.items()
        for saved in of_module
    ],
)

# %% [markdown]
# The price: the scores are computed a second time.

# %%
with FlopCounterMode(display=False) as forward:
    output = Flash()(*inputs)
with FlopCounterMode(display=False) as backward:
    output.sum().backward()
print(f"forward     {forward.get_total_flops():,} FLOPs: q kᵀ and p v")
print(f"backward    {backward.get_total_flops():,} FLOPs: q kᵀ again, and four more products")
print(f"ratio       {backward.get_total_flops() / forward.get_total_flops()}")

# %% [markdown]
# ## What to do about it
#
# Think of flash attention as a checkpoint that is already there, inside the op. Its recomputation is part of its
# backward pass under every policy. A policy that recomputes the attention op once more pays twice, and frees only one
# output and one number per row. The [lab on policies](tiny-llama.py) measures how little that is.
#
# The script behind this page, <a href="flash-attention.py" download>flash-attention.py</a>, runs unchanged, in a shell or as a notebook.
