"""What this site says."""

from __future__ import annotations

from dataclasses import replace

from actckpt import PRESETS, estimate
from actckpt.hardware import GIB
from actckpt.tradeoff import LONGEST, parity_length
from book.claims import names
from book.claims.claim import Finding, claim, judge, n
from book.claims.names import AT_LONG, CHECKPOINT, PAPER_LINK, ZERO
from book.quantities.measured import measure
from book.quantities.steps import LENGTHS, LONG, RANKS, SIZES, overhead, saved, sbh, step

WORTH_TAKING = "workshop/attention-first/#policies-worth-taking"


@claim(
    says="What the formulas give is what autograd saves, to the byte.",
    taught="evidence/formula-against-measurement/",
    source=CHECKPOINT,
    tests=(names.MEASURED,),
)
def formula_is_measurement() -> Finding:
    # blocks are alike: a few of them are as good as all
    model, seq_len = replace(PRESETS["llama-3.2-1b"], n_layers=4), 2048
    policies = ("none", "ffn", "save_attention")
    differences = []
    for policy in policies:
        formula, measured = (ask(model, seq_len=seq_len, policy=policy).total_bytes for ask in (estimate, measure))
        differences.append(abs(measured - formula))
    return judge(
        f"{n(model.n_layers)} blocks of Llama 3.2 1B at {n(seq_len)} tokens under {n(len(policies))} policies, "
        f"measured for this page: the largest difference is {n(max(differences))} bytes.",
        holds=not any(differences),
    )


@claim(
    says="Share the states before you recompute anything: it costs no FLOPs.",
    taught="workshop/training-memory/#sharing",
    source=f"{ZERO}, §5",
    tests=(names.STATES,),
)
def share_first() -> Finding:
    alone, shared = (step(data_parallel=ranks) for ranks in (1, RANKS))
    return judge(
        f"Over {n(RANKS)} ranks the states of Llama 3.1 8B go from {n(alone.states.bytes / GIB)} to "
        f"{n(shared.states.bytes / GIB, 0, 'GiB')} each, and the FLOPs of the blocks stay as they are.",
        holds=shared.states.bytes <= -(-alone.states.bytes // RANKS) + 4 and shared.flops == alone.flops,
    )


@claim(
    says="The ops that are not matmuls are the cheapest to recompute.",
    taught=WORTH_TAKING,
    source=CHECKPOINT,
    tests=(names.POINTWISE, names.MEASURED),
)
def pointwise_first() -> Finding:
    share, cost = saved("pointwise"), overhead("pointwise")
    return judge(
        f"<code>pointwise</code> saves {n(100 * share, 0, '%')} of the activations of Llama 3.1 8B for "
        f"{n(100 * cost, 0, '%')} more FLOPs. It still takes time, because the repeated ops move memory.",
        holds=cost == 0 and share > 0.25,
    )


@claim(
    says="With flash attention, recompute the FFN half before the attention half, from a length that is less than H.",
    taught="workshop/attention-first/#where-it-turns-round",
    source=CHECKPOINT,
    tests=("test_tradeoff::test_the_parity_is_near_a_fixed_share_of_the_hidden_size", names.MEASURED),
)
def ffn_first() -> Finding:
    parities = [parity_length(model) or LONGEST for model in SIZES]
    shares = [length / PRESETS[model].hidden_size for model, length in zip(SIZES, parities, strict=True)]
    return judge(
        f"From {', '.join(map(n, parities))} tokens on for 8B, 70B and 405B: {n(min(shares), 2)} to "
        f"{n(max(shares), 2)} of H.",
        holds=max(parities) < LONG and max(shares) < 1,
    )


@claim(
    says="If the whole block has to be recomputed, keep the attention op's output. That is cheaper at every length.",
    taught=WORTH_TAKING,
    source=CHECKPOINT,
    tests=(names.POLICIES_LEAVE, names.MEASURED),
)
def keep_the_op() -> Finding:
    kept, full = ([100 * overhead(policy, seq_len=s) for s in LENGTHS] for policy in ("save_attention", "full"))
    at = LENGTHS.index(LONG)
    return judge(
        f"It keeps {n(sbh('save_attention') - sbh('full'), 2)} bytes for each SBH more and costs {n(kept[at], 1)} "
        f"instead of {n(full[at], 1, '%')} at {AT_LONG} tokens, {n(kept[-1], 1)} instead of {n(full[-1], 1, '%')} at "
        f"{names.LONGEST}.",
        holds=all(less < more for less, more in zip(kept, full, strict=True)),
    )


@claim(
    says="Once blocks are recomputed, look at the logits.",
    taught="workshop/training-memory/#logits",
    source=f"{PAPER_LINK}, §4.3",
    tests=(names.MEASURED,),
)
def logits_matter() -> Finding:
    full = step("full")
    logits = full.head.ledger.component_bytes("logits")
    return judge(
        f"At {AT_LONG} tokens, whole blocks recomputed, what the loss keeps is {n(logits / full.total_bytes, 1, '×')} "
        f"all checkpoints of Llama 3.1 8B: {n(logits / GIB, 1, 'GiB')} against {n(full.total_bytes / GIB, 1, 'GiB')}.",
        holds=logits > full.total_bytes,
    )
