"""What the page of questions says, asked of the package anew; `test_prose` says what a row is."""

from __future__ import annotations

from asked import EVERY_LENGTH, LAYERS, LONG, C, M, cost, kept, of, saved, step
from built_pages import fixed, gib, percent, times

from actckpt import ACCELERATORS, POLICIES, FlopRules
from actckpt.tradeoff import parity_length

# what `pointwise` computes again
AGAIN = ("norm_1.output", "norm_1.rstd", "rope.q", "rope.k", "norm_2.output", "norm_2.rstd", "swiglu.product")
H100 = ACCELERATORS["h100-80gb"]
N = C.n_parameters


def questions() -> dict[str, str]:
    peaks = {policy: step(policy, data_parallel=8).peak_bytes for policy in POLICIES}
    cheapest = min((policy for policy in peaks if peaks[policy] <= H100.memory_bytes), key=cost)
    full, logits = sorted(cost("full", seq_len) for seq_len in EVERY_LENGTH), 4 * LONG * C.vocab_size
    # the final norm keeps its input and what the projection reads, and a statistic a token; the loss keeps its weight
    head = 4 * LONG * C.hidden_size + 4 * LONG + logits + 4
    return {
        "sequence on each of": "8",
        "the step peaks at": gib(peaks["none"]),
        "and an H100 has": gib(81_559 * 2**20),
        "fits is every_2, with a peak of": gib(peaks[cheapest]),
        "peak of … for": percent(cost(cheapest)),
        "FLOPs. That leaves": gib(H100.memory_bytes - peaks[cheapest]),
        "order: ffn peaks at": gib(peaks["ffn"]),
        "ffn peaks at … for": percent(cost("ffn")),
        "save? The blocks keep": gib(kept()),
        "memory. Of this, every_2 saves": percent(saved(cheapest), 0),
        "every_2 saves …, ffn saves": percent(saved("ffn"), 0),
        "and nothing else, saves": percent(saved("full")),
        "training states alone take": gib(16 * N),
        "if full keeps only": gib(kept("full")),
        # beside what the blocks keep: what the head saves, and two gradients as large as the logits
        "and the loss take": gib(head + 2 * logits),
        "and unshared states take": gib(16 * N),
        "nothing under flash attention:": percent(saved("core_attention"), 2),
        # seven matmuls, two of them run before: five for two
        "of flash attention costs": times(5 / 2),
        "longer. That leaves": fixed(100 * full[0], 1),
        "That leaves …–": percent(full[-1]),
        "it, full would cost": percent(cost("full", rules=FlopRules(early_stop=False))),
        "cost … and not": percent(cost("full")),
        "left to free. From": f"{parity_length(M):,}",
        "all but attention, keeps": gib(kept("save_attention")),
        "attention, keeps … for": percent(cost("save_attention")),
        "…, while both keeps": gib(kept("both")),
        "both keeps … for": percent(cost("both")),
        "SwiGLU product, and saves": percent(saved("pointwise"), 0),
        # NVIDIA's data sheet: 3.35 TB/s
        "an H100 at least": fixed(LAYERS * of(step().block, *AGAIN) / 3.35e9, 1),
        "cost? The loss saves": gib(logits),
        "float32 for each of": f"{C.vocab_size:,}",
        "words and each of": f"{LONG:,}",
        "backward, it holds that": "3",
        "peak. Here it is": gib(2 * logits),
    }
