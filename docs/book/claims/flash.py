"""What flash attention stores, recomputes and takes."""

from __future__ import annotations

from functools import partial

import torch

from actckpt import FlopRules, flash_attention
from actckpt.formulas import traffic
from actckpt.hardware import GIB
from book.claims import names
from book.claims.claim import Finding, Stated, cited, claim, judge, n, near
from book.claims.names import AT_LONG, CHECKPOINT, EAGER, FLASH_1, FLASH_2, LONGEST, link
from book.claims.step import exponent
from book.quantities.costs import backward_share
from book.quantities.flash import DEVICE, FLASH, STANDARD, idle
from book.quantities.sources import PUBLISHED
from book.quantities.steps import CARD, CONFIG, LENGTHS, LONG, RANKS, kept, overhead, saved, step
from book.quantities.text import tokens

SPEED = (Stated(2), Stated(4, "×"))
AMPERE_PAPER = link(
    "https://images.nvidia.com/aem-dam/en-zz/Solutions/data-center/nvidia-ampere-architecture-whitepaper.pdf",
    "NVIDIA, A100 architecture",
)

in_the_kernel = partial(claim, element="W24", taught="workshop/flash-attention/#flash-as-checkpointing")

less_time = partial(claim, element="W25", taught="workshop/flash-attention/#more-flops-less-time")

composed = partial(claim, element="W26", taught="workshop/flash-attention/#with-checkpointing")


@claim(
    element="W23",
    says="The online softmax is exact.",
    taught="workshop/flash-attention/#online-softmax",
    source=f"{FLASH_1}, theorem 1",
    tests=("test_attention::test_reference_equals_the_definition",),
)
def exact() -> Finding:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 2, 200, 32, generator=generator, dtype=torch.float64) for _ in range(3))
    scores = (q @ k.transpose(-1, -2) / 32**0.5).masked_fill(torch.ones(200, 200).triu(1).bool(), -torch.inf)
    plain = torch.softmax(scores, dim=-1) @ v
    difference = float((flash_attention(q, k, v, causal=True) - plain).abs().max())
    return judge(
        f"In float64, on {n(q.shape[2])} random tokens, the tiled op and attention that writes its scores differ by "
        f"{n(f'{difference:.0e}')} at most. That is rounding, not approximation.",
        holds=difference < 1e-12,
    )


@in_the_kernel(
    says="Flash attention is activation checkpointing inside the kernel: it stores no matrix and recomputes the "
    "scores.",
    source=f"{FLASH_1}, §3.1",
    tests=(names.FLASH_BACKWARD, names.MEASURED),
)
def built_in() -> Finding:
    flash, plain = backward_share(), 2
    matrices = [term for term in step().block if term.shape[-2:] == (LONG, LONG)]
    return judge(
        f"The forward pass keeps {n(len(matrices))} matrices of S × S and has {n(2)} matmuls. The backward pass has "
        f"{n(2 * flash)}: {n(2 * plain)} for the gradients, and one to compute the scores again.",
        holds=not matrices and flash > plain,
    )


@in_the_kernel(
    says="For each row it stores the maximum and the sum.",
    source=f"{FLASH_2}, §3.1",
    tests=(names.MEASURED,),
)
def row_statistics() -> Finding:
    kept = step().block.where(lambda term: term.name.startswith("attention.") and term.dtype == "float32").bytes
    each = kept / 4 / (CONFIG.n_heads * LONG)
    return judge(
        f"{n(each)} number for each query of each head: the log-sum-exp, {n(kept / (LONG * CONFIG.hidden_size), 3)} "
        "bytes for each SBH.",
        holds=each == 2,
        condition="FlashAttention-1 kept the maximum and the sum. FlashAttention-2 combines them into one number.",
    )


@in_the_kernel(says="Its memory is O(S).", source=f"{FLASH_1}, theorem 1", tests=(names.MEASURED,))
def linear_memory() -> Finding:
    power = exponent()
    return judge(f"Activations grow with S to the power {n(power, 2)}.", holds=near(power, 1, 0.001))


@less_time(element="W24", says=f"It is {SPEED[0]} to {SPEED[1]} faster.", source=f"{FLASH_1}, figure 2")
def speed() -> Finding:
    return cited(
        "That depends on the GPU, the shape, and the kernel that it is compared with. A formula cannot say it. The "
        'page <a href="@/evidence/on-a-gpu/">On a GPU</a> has the recordings, and says where there are none.'
    )


@in_the_kernel(
    says="Standard attention needs an explicit <code>torch.checkpoint()</code>.",
    source=CHECKPOINT,
    tests=("test_claims::test_the_checkpoint_function_is_in_torch_utils",),
)
def torch_checkpoint() -> Finding:
    return judge(
        f"<code>torch.checkpoint</code> {'exists' if hasattr(torch, 'checkpoint') else 'does not exist'}; "
        "<code>torch.utils.checkpoint.checkpoint</code> "
        f"{'does' if hasattr(torch.utils.checkpoint, 'checkpoint') else 'does not'}.",
        holds=hasattr(torch, "checkpoint"),
        condition="Its name is <code>torch.utils.checkpoint.checkpoint</code>.",
    )


@less_time(
    says="Flash attention runs more FLOPs than standard attention.",
    source=f"{FLASH_1}, figure 2",
    tests=(names.LLAMAS_FLOPS, names.FLASH_BACKWARD),
)
def more_flops() -> Finding:
    steps = (step(**EAGER), step(rules=FlopRules(causal=False)), step())
    eager, full, flash = ((each.flops.forward + each.flops.backward) / 1e12 for each in steps)
    return judge(
        f"In a step at {AT_LONG} tokens, the blocks of Llama 3.1 8B run {n(eager, 0, 'TFLOP')} with eager attention, "
        f"{n(full, 0, 'TFLOP')} with flash attention over all pairs, and {n(flash, 0, 'TFLOP')} "
        "if the kernel skips what the causal mask hides.",
        holds=eager < flash,
        when=eager < full,
        condition="nothing is masked. A causal kernel runs fewer FLOPs than eager attention, not more.",
    )


@less_time(
    says="Standard attention is bound by memory: its arithmetic units wait.",
    source=f"{FLASH_1}, §2",
    tests=("test_flash_page::test_attention_bounds", names.HARDWARE, names.PUBLISHED),
)
def waiting() -> Finding:
    busy = 1 - idle()
    gain = traffic.bound_s(STANDARD.both, DEVICE) / traffic.bound_s(FLASH.both, DEVICE)
    measured = PUBLISHED["flash_standard_time"].value / PUBLISHED["flash_flash_time"].value
    return judge(
        f"At the full bandwidth of an A100, the matmuls of standard attention take {n(100 * busy, 0, '%')} of its time "
        f"at most. The lower bounds differ by {n(gain, 1, '×')}; {FLASH_1} measured {n(measured, 1, '×')} for one "
        "shape.",
        holds=busy < 0.5 and gain > 1,
    )


@less_time(says="The units that wait are the CUDA cores.", source=AMPERE_PAPER)
def cuda_cores() -> Finding:
    return cited(
        "The matmuls run on the tensor cores, and the CUDA cores compute the softmax. This is a fact about the "
        "hardware. Nothing here computes it."
    )


@composed(
    says="Flash attention and layer checkpointing go together.",
    source=CHECKPOINT,
    tests=(names.MEASURED,),
)
def composes() -> Finding:
    alone, both = saved("ffn"), 1 - kept("ffn") / kept(**EAGER)
    return judge(
        f"On top of flash attention, recomputing the FFN half saves another {n(100 * alone, 0, '%')} for "
        f"{n(100 * overhead('ffn'), 1, '%')} more FLOPs. Together they save {n(100 * both, 1, '%')} of what eager "
        f"attention keeps (Llama 3.1 8B, {AT_LONG} tokens).",
        holds=alone > 0.5 and both > alone,
    )


@composed(
    says="Flash attention makes training at 32K to 128K tokens feasible.",
    source=f"{FLASH_1}, §4",
    tests=(names.STATES, names.HARDWARE, names.PEAK, names.MEASURED),
)
def long_context() -> Finding:
    lengths = (2 * LONG, LENGTHS[-1])
    none, full = (
        [step(policy, seq_len=seq_len, data_parallel=RANKS).peak_bytes for seq_len in lengths]
        for policy in ("none", "full")
    )
    words = [f"{n(short / GIB)} and {n(long / GIB, 0, 'GiB')}" for short, long in (none, full)]
    return judge(
        f"Llama 3.1 8B on eight ranks, at {n(tokens(lengths[0]))} and {LONGEST} tokens, takes {words[0]} per rank with "
        f"flash attention alone, and {words[1]} if whole blocks are recomputed too. An H100 has "
        f"{n(CARD.memory_bytes / GIB, 1, 'GiB')}.",
        holds=max(none) <= CARD.memory_bytes,
        when=full[0] <= CARD.memory_bytes,
        condition="blocks are recomputed too. For the longer length, the sequence or the logits have to be split as "
        "well.",
    )
