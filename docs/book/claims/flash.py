"""Claims on flash attention: what it stores, recomputes and takes."""

from __future__ import annotations

from dataclasses import replace

import torch

from actckpt import ACCELERATORS, FlopRules, estimate, flash_attention
from actckpt.formulas import traffic
from actckpt.formulas.traffic import Shape
from book.claims.claim import Claim, Finding, Stated, cite, judge, n, near
from book.claims.quantities import (
    CHECKPOINT,
    CONFIG,
    FLASH_1,
    FLASH_2,
    LONG,
    MODEL,
    exponent,
    gib,
    overhead,
    saved,
    sbh,
    step,
)
from book.quantities.sources import PUBLISHED

A100, SMALL = ACCELERATORS["a100-80gb"], ACCELERATORS["a100-40gb"]
MATRIX, LENGTH, HEADS = Stated(1, "GB"), Stated(4096), Stated(32)
SPEED = (Stated(2), Stated(4, "×"))
AMPERE_PAPER = (
    '<a href="https://images.nvidia.com/aem-dam/en-zz/Solutions/data-center/'
    'nvidia-ampere-architecture-whitepaper.pdf">NVIDIA, A100 architecture</a>'
)


def exact() -> Finding:
    """The tiled reference against the definition, in float64."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 2, 200, 32, generator=generator, dtype=torch.float64) for _ in range(3))
    scores = (q @ k.transpose(-1, -2) / 32**0.5).masked_fill(torch.ones(200, 200).triu(1).bool(), -torch.inf)
    plain = torch.softmax(scores, dim=-1) @ v
    difference = float((flash_attention(q, k, v, causal=True) - plain).abs().max())
    return judge(
        f"In float64, on {n(q.shape[2])} random tokens, the tiled op and attention that writes its scores differ by "
        f"{n(f'{difference:.0e}')} at most: rounding, no approximation.",
        holds=difference < 1e-12,
    )


def recomputes() -> Finding:
    """The matmuls of a flash backward, and what it has kept."""
    flash, plain = (_attention_backward(FlopRules(flash_backward=on)) for on in (True, False))
    terms = [
        term.name for term in step().block if LONG in term.shape and term.shape[-1] == LONG and len(term.shape) > 3
    ]
    return judge(
        f"The forward pass keeps {n(len(terms))} matrices of S × S. The backward pass has {n(2 * flash)} matmuls for "
        f"the forward pass's {n(2)}, one more than the {n(2 * plain)} of the gradients: the scores, again.",
        holds=not terms and flash > plain,
    )


def _attention_backward(rules: FlopRules) -> float:
    # the backward over the forward FLOPs of the attention op: what the core adds to the step of a block
    config = replace(CONFIG, n_layers=1)
    lengths = (2**30, 2**31)
    steps = [estimate(config, seq_len=s, rules=rules).flops for s in lengths]
    # at such lengths the square outweighs all else
    return round(4 * steps[1].backward / steps[1].forward) / 4


def row_statistics() -> Finding:
    """How many numbers are kept for a row of scores."""
    rows = CONFIG.n_heads * LONG
    count = sum(
        term.bytes // 4 for term in step().block if term.name.startswith("attention.") and term.dtype == "float32"
    )
    return judge(
        f"{n(count / rows)} number for each query of each head: the log-sum-exp, "
        f"{n(sbh() and 4 * rows / (LONG * CONFIG.hidden_size), 3)} bytes for each SBH.",
        holds=count == 2 * rows,
        condition="FlashAttention-1 kept the maximum and the sum; since FlashAttention-2 they are one number.",
    )


def linear_memory() -> Finding:
    """The power of S by which activations grow with flash attention."""
    power = exponent()
    return judge(f"Activations grow with S to the power {n(power, 2)}.", holds=near(power, 1, 0.001))


def more_flops() -> Finding:
    """The FLOPs of attention in a step, flash against eager."""
    how = {"seq_len": LONG, "model": MODEL}
    eager = estimate(attention="eager", **how).flops
    flash, full = (estimate(rules=FlopRules(causal=causal), **how).flops for causal in (True, False))
    totals = [f.forward + f.backward for f in (eager, full, flash)]
    return judge(
        f"A step of Llama 3.1 8B at {n('16K')} tokens: {n(totals[0] / 1e12, 0, 'TFLOP')} with eager attention, "
        f"{n(totals[1] / 1e12, 0, 'TFLOP')} with flash attention of all pairs, {n(totals[2] / 1e12, 0, 'TFLOP')} "
        "when the kernel skips what the causal mask hides.",
        holds=totals[0] < totals[2],
        when=totals[0] < totals[1],
        condition="nothing is masked. A causal kernel runs fewer FLOPs than eager attention, not more.",
    )


def waiting() -> Finding:
    """The bound on standard attention's time."""
    shape = Shape.of(CONFIG, int(LENGTH.value))
    standard = [*traffic.standard_forward(shape), *traffic.standard_backward(shape)]
    busy = sum(kernel.matmul_s(A100) for kernel in standard) / traffic.bound_s(standard, A100)
    flash = [*traffic.flash_forward(shape), *traffic.flash_backward(shape)]
    gain = traffic.bound_s(standard, A100) / traffic.bound_s(flash, A100)
    measured = PUBLISHED["flash_standard_time"].value / PUBLISHED["flash_flash_time"].value
    return judge(
        f"At an A100's full bandwidth, standard attention's matmuls fill {n(100 * busy, 0, '%')} of its time at "
        f"best. The lower bounds differ by {n(gain, 1, '×')}; {FLASH_1} measured {n(measured, 1, '×')} for one shape.",
        holds=busy < 0.5 and gain > 1,
        condition="",
    )


def torch_checkpoint() -> Finding:
    """Where the function is."""
    return judge(
        f"<code>torch.checkpoint</code> {'exists' if hasattr(torch, 'checkpoint') else 'does not exist'}; "
        "<code>torch.utils.checkpoint.checkpoint</code> "
        f"{'does' if hasattr(torch.utils.checkpoint, 'checkpoint') else 'does not'}.",
        holds=hasattr(torch, "checkpoint"),
        condition="Its name is <code>torch.utils.checkpoint.checkpoint</code>.",
    )


def composes() -> Finding:
    """Flash attention with the FFN half recomputed."""
    alone, both = saved("ffn"), 1 - step(policy="ffn").total_bytes / step(attention="eager").total_bytes
    return judge(
        f"On top of flash attention, recomputing the FFN half saves another {n(100 * alone, 0, '%')} for "
        f"{n(100 * overhead('ffn'), 0, '%')} more FLOPs; together they save {n(100 * both, 1, '%')} of what eager "
        f"attention keeps (Llama 3.1 8B, {n('16K')} tokens).",
        holds=alone > 0.5 and both > alone,
    )


def long_context() -> Finding:
    """What 8B needs at 32K and 128K tokens."""
    h100 = ACCELERATORS["h100-80gb"].memory_bytes

    def peak(seq_len: int, policy: str) -> int:
        return int(estimate(MODEL, seq_len=seq_len, policy=policy, data_parallel=8).peak_bytes)

    sizes = {(s, policy): peak(s, policy) for s in (2**15, 2**17) for policy in ("none", "full")}
    words = [f"{n(gib(sizes[2**15, p]), 0)} and {n(gib(sizes[2**17, p]), 0, 'GiB')}" for p in ("none", "full")]
    return judge(
        f"Llama 3.1 8B on eight ranks, {n('32K')} and {n('128K')} tokens: {words[0]} a rank with flash attention "
        f"alone, {words[1]} with whole blocks recomputed as well. An H100 has {n(gib(h100), 1, 'GiB')}.",
        holds=all(sizes[s, "none"] <= h100 for s in (2**15, 2**17)),
        when=sizes[2**15, "full"] <= h100,
        condition="blocks are recomputed too; the longer length needs the sequence or the logits divided as well.",
    )


CLAIMS = (
    Claim(
        "exact",
        "W23",
        "The online softmax is exact.",
        "workshop/flash-attention/#online-softmax",
        exact,
        f"{FLASH_1}, theorem 1",
        "test_attention::test_reference_equals_the_definition",
    ),
    Claim(
        "built-in",
        "W24",
        "Flash attention is activation checkpointing inside the kernel: it stores no matrix and recomputes the scores.",
        "workshop/flash-attention/#flash-as-checkpointing",
        recomputes,
        f"{FLASH_1}, §3.1",
        "test_attention::test_nothing_is_as_large_as_the_scores",
    ),
    Claim(
        "row-statistics",
        "W24",
        "For each row it stores the maximum and the sum.",
        "workshop/flash-attention/#flash-as-checkpointing",
        row_statistics,
        f"{FLASH_2}, §3.1",
        "test_attention::test_saves_its_inputs_output_and_lse",
    ),
    Claim(
        "linear-memory",
        "W24",
        "Its memory is O(S).",
        "workshop/flash-attention/#flash-as-checkpointing",
        linear_memory,
        f"{FLASH_1}, theorem 1",
        "test_figures::test_accountings_over_seq_len",
    ),
    Claim(
        "speed",
        "W24",
        f"It is {SPEED[0]} to {SPEED[1]} faster.",
        "workshop/flash-attention/#more-flops-less-time",
        cite(
            "A matter of the GPU, the shape and the kernel it is compared with: the closed form has no clock. What was "
            "recorded on "
            'a GPU stands on <a href="@/evidence/on-a-gpu/">its own page</a>.'
        ),
        f"{FLASH_1}, figure 2",
        "test_claims::test_what_is_cited_says_so",
    ),
    Claim(
        "torch-checkpoint",
        "W24",
        "Standard attention needs an explicit <code>torch.checkpoint()</code>.",
        "workshop/flash-attention/#flash-as-checkpointing",
        torch_checkpoint,
        CHECKPOINT,
        "test_claims::test_the_checkpoint_function_is_in_torch_utils",
    ),
    Claim(
        "more-flops",
        "W25",
        "Flash attention runs more FLOPs than standard attention.",
        "workshop/flash-attention/#more-flops-less-time",
        more_flops,
        f"{FLASH_1}, figure 2",
        "test_formulas::test_causality_halves_flash_attention_and_leaves_eager_attention",
    ),
    Claim(
        "waiting",
        "W25",
        "Standard attention is bound by memory: its arithmetic units wait.",
        "workshop/flash-attention/#more-flops-less-time",
        waiting,
        f"{FLASH_1}, §2",
        "test_flash_page::test_attention_bounds",
    ),
    Claim(
        "cuda-cores",
        "W25",
        "The units that wait are the CUDA cores.",
        "workshop/flash-attention/#more-flops-less-time",
        cite(
            "The matmuls run on the tensor cores; the CUDA cores take the softmax. A fact of the hardware, which "
            "nothing here computes."
        ),
        AMPERE_PAPER,
        "test_claims::test_what_is_cited_says_so",
    ),
    Claim(
        "composes",
        "W26",
        "Flash attention and layer checkpointing go together.",
        "workshop/flash-attention/#with-checkpointing",
        composes,
        CHECKPOINT,
        "test_formulas::test_what_the_policies_leave_of_34_03",
    ),
    Claim(
        "long-context",
        "W26",
        "Flash attention makes training at 32K to 128K tokens feasible.",
        "workshop/flash-attention/#with-checkpointing",
        long_context,
        f"{FLASH_1}, §4",
        "test_measurement::test_the_peak_is_that_of_mem_tracker",
    ),
)
