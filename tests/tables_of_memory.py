"""The tables of the chapters on memory, worked out by hand; `test_tables_on_pages` finds them on the pages."""

from __future__ import annotations

from collections.abc import Iterable

import by_hand
from asked import LAYERS, LONG, C, H
from built_pages import Cells, by, fixed, gib, percent, size, times
from by_hand import SIZES, all_bytes, block_bytes, component, kept, overhead, paper_all_bytes, tensors

from actckpt import ACCELERATORS, PRESETS

POLICIES = ("none", "attention", "ffn", "both", "full", "core_attention", "save_attention", "pointwise")
LABELS = ("Llama 3.1 8B", "Llama 3.1 70B", "Llama 3.1 405B")


def mib(n_bytes: float) -> str:
    return fixed(n_bytes / 2**20, 1 if n_bytes >= 2**19 else 3)


def sbh(n_bytes: float, seq_len: int = 4096, hidden_size: int = H, digits: int = 2) -> str:
    return fixed(n_bytes / (seq_len * hidden_size), digits)


def terms(linear: int, squared: int) -> str:
    return f"{linear} SBH" + (f" + {squared} nS²B" if squared else "")


# What activations are


def layers() -> tuple[dict[str, str], dict[str, str]]:
    """The figures of the layer stack, Llama's and the paper's: each layer has a formula and its size."""
    sizes, hidden, logits = tensors(4096), 2 * 4096 * H, 4 * 4096 * C.vocab_size
    llama = {
        "Norm 1": ("input", "norm_1.output", "norm_1.rstd"),
        "Attention": ("v_proj", "rope.q", "rope.k", "attention.output", "attention.lse"),
        "Norm 2": ("residual", "norm_2.output", "norm_2.rstd"),
        "FFN": ("gate_proj", "up_proj", "swiglu.product"),
    }
    paper = {"Norm 1": (2, 0), "Attention": (11, 5), "Norm 2": (2, 0), "FFN": (19, 0)}
    ours = {name: sum(sizes[tensor] for tensor in names) for name, names in llama.items()}
    norm = 2 * hidden + 4 * 4096
    return (
        {name: f"{sbh(n)} SBH{mib(n)} MiB" for name, n in (*ours.items(), ("Final norm", norm))}
        | {"Logits and loss": f"4.00 SBV{mib(logits)} MiB"},
        {name: f"{terms(*n)}{mib(paper_size(*n))} MiB" for name, n in paper.items()}
        | {
            "Final norm": f"2 SBH{mib(hidden)} MiB",
            "Logits and loss": f"2 SBH + 4 SBV{mib(hidden + logits)} MiB",
        },
    )


def component_cards() -> dict[str, list[str]]:
    """A card for each component: the paper's formula, and what Llama's block has."""
    parts = dict.fromkeys(("attention", "ffn", "norm"), 0)
    for name in kept():
        parts[component(name)] += tensors(4096)[name]
    titles = {"Attention": "attention", "FFN": "ffn", "LayerNorm": "norm"}
    return {title: [terms(*by_hand.PAPER[part]), f"{sbh(parts[part])} SBH"] for title, part in titles.items()}


def elements() -> Cells:
    rows = {
        "activations, bfloat16": ("16 SBH + 2 nS²B", "32 SBH + 4 nS²B"),
        "dropout masks": ("2 SBH + 1 nS²B", "2 SBH + 1 nS²B"),
        "sum": ("18 SBH + 3 nS²B", "34 SBH + 5 nS²B"),
    }
    return by(("elements", "bytes"), rows)


# of the paper's block: bytes of SBH, of nS²B, and the type
PAPER_TERMS = {
    "input of norm 1": (2, 0, "bfloat16"),
    "input of the q, k, v projections": (2, 0, "bfloat16"),
    "queries": (2, 0, "bfloat16"),
    "keys": (2, 0, "bfloat16"),
    "softmax": (0, 2, "bfloat16"),
    "dropout mask of the softmax": (0, 1, "mask"),
    "softmax after dropout": (0, 2, "bfloat16"),
    "values": (2, 0, "bfloat16"),
    "input of the output projection": (2, 0, "bfloat16"),
    "dropout mask after attention": (1, 0, "mask"),
    "input of norm 2": (2, 0, "bfloat16"),
    "input of the first FFN matmul": (2, 0, "bfloat16"),
    "input of GELU": (8, 0, "bfloat16"),
    "output of GELU": (8, 0, "bfloat16"),
    "dropout mask after the FFN": (1, 0, "mask"),
}
# a tensor of the Llama block, as the page names it
LLAMA_TERMS = {
    "input of norm 1": "input",
    "output of norm 1": "norm_1.output",
    "one statistic a token": "norm_1.rstd",
    "values": "v_proj",
    "queries after RoPE": "rope.q",
    "keys after RoPE": "rope.k",
    "attention's output": "attention.output",
    "log-sum-exp of each row": "attention.lse",
    "input of norm 2": "residual",
    "output of norm 2": "norm_2.output",
    "one statistic a token (2)": "norm_2.rstd",
    "gate": "gate_proj",
    "up": "up_proj",
    "SwiGLU's product": "swiglu.product",
}


def paper_size(linear: int, squared: int) -> int:
    return linear * 4096 * H + squared * C.n_heads * 4096**2


def paper_terms() -> Cells:
    rows = {
        name: (f"{linear} SBH" if linear else f"{squared} nS²B", mib(paper_size(linear, squared)), dtype)
        for name, (linear, squared, dtype) in PAPER_TERMS.items()
    }
    return by(("bytes", "MiB", "type"), rows | {"sum": ("34 SBH + 5 nS²B", mib(paper_size(34, 5)), "")})


def llama_terms() -> Cells:
    sizes, block = tensors(4096), block_bytes(seq_len=4096)
    rows = {
        label: (f"{sbh(sizes[name], digits=3)} SBH", mib(sizes[name]), "float32" if four(name) else "bfloat16")
        for label, name in LLAMA_TERMS.items()
    }
    return by(("bytes", "MiB", "type"), rows | {"sum": (f"{sbh(block, digits=3)} SBH", mib(block), "")})


def four(name: str) -> bool:
    return name.endswith((".rstd", ".lse"))


def models() -> Cells:
    rows = {}
    for label, name in zip(LABELS, SIZES, strict=True):
        c, block = PRESETS[name], block_bytes("none", 4096, name)
        both = (block, block + tensors(4096, name)["swiglu.product"])
        each = [sbh(n_bytes, 4096, c.hidden_size) for n_bytes in both]
        rows[label] = (f"{c.n_kv_heads} / {c.n_heads}", f"{c.ffn_size / c.hidden_size:g}", *each)
    return by(("nkv / n", "F / H", "bytes per SBH", "SwiGLU not fused"), rows)


def differences() -> Cells:
    sizes, heads = tensors(4096), C.n_heads * 4096 / H
    parts = {
        "the norms' inputs and statistics": (4, ("input", "residual", "norm_1.rstd", "norm_2.rstd")),
        "the norms' outputs, which matmuls read": (4, ("norm_1.output", "norm_2.output")),
        "queries, keys, values": (6, ("rope.q", "rope.k", "v_proj")),
        "S × S matrices, or the log-sum-exp": (5 * heads, ("attention.lse",)),
        "attention's output": (2, ("attention.output",)),
        "inside the FFN": (16, ("gate_proj", "up_proj", "swiglu.product")),
        "dropout masks of hidden states": (2, ()),
    }
    rows = {name: (fixed(paper, 2), sbh(sum(sizes[t] for t in llama))) for name, (paper, llama) in parts.items()}
    return by(("paper", LABELS[0]), rows | {"sum": (fixed(34 + 5 * heads, 2), sbh(block_bytes(seq_len=4096)))})


# Training memory


def states() -> Cells:
    counts = [by_hand.n_parameters(name) for name in SIZES]
    each = {"Parameters": 4, "Gradients": 4, "Optimizer": 8, "sum": 16}
    rows = {name: (f"{n} N", *(gib(n * count, 1) for count in counts)) for name, n in each.items()}
    return by(("bytes", *LABELS), rows)


def shared() -> Cells:
    counts = [by_hand.n_parameters(name) for name in SIZES]
    rows = {
        f"{ranks} rank{'s' * (ranks > 1)}": [gib(16 * -(-count // ranks), 1) for count in counts]
        for ranks in (1, 8, 64, 512)
    }
    return by(LABELS, rows)


def peak() -> Cells:
    sizes, hidden, logits = tensors(LONG), 2 * LONG * H, 4 * LONG * C.vocab_size
    columns: dict[str, list[int]] = {}
    # a hidden state that a recomputed half starts from is its checkpoint
    starts = {"none": set(), "ffn": {"residual"}, "full": {"input"}}
    for policy, own in starts.items():
        parts = dict.fromkeys(("attention", "ffn", "norm", "checkpoint"), 0)
        for name in kept(policy):
            parts["checkpoint" if name in own else component(name)] += LAYERS * sizes[name]
        head = 2 * hidden + 4 * LONG + logits + 4
        # the gradients of log-softmax's output and input, and the loss's own; the total weight is gone
        columns[policy] = [*parts.values(), head, 2 * logits]
    rows = ("Attention", "FFN", "Norms of the blocks", "Checkpoint", "Final norm, logits, loss", "Working set", "sum")
    cells = zip(*([gib(part, 1) for part in (*parts, sum(parts))] for parts in columns.values()), strict=True)
    return by(columns, dict(zip(rows, cells, strict=True)))


def explorer(lengths: Iterable[int], accounting: str, ranks: int, checkpointed: int = 0) -> Cells:
    """The table of an explorer as it opens: so many blocks recomputed, and the states shared by so many ranks."""
    n, rows = -(-by_hand.n_parameters() // ranks), {}
    for seq_len in lengths:
        sizes, logits = tensors(seq_len), 4 * seq_len * C.vocab_size
        parts = {
            name: 2 * LAYERS * (linear * seq_len * H + squared * C.n_heads * seq_len**2)
            for name, (linear, squared) in by_hand.PAPER.items()
        }
        if accounting == "llama":
            whole = LAYERS - checkpointed
            parts = {name: whole * sum(sizes[t] for t in kept() if component(t) == name) for name in parts}
        head = 4 * seq_len * H + 4 * seq_len + logits + 4
        after = (head, 2 * logits) if accounting == "llama" else (0, 0)
        cells = (4 * n, 4 * n, 8 * n, *parts.values(), checkpointed * sizes["input"], *after)
        rows[f"{seq_len:,}"] = [fixed(cell / 2**30, 1) for cell in (*cells, sum(cells))]
    columns = "Parameters Gradients Optimizer Attention FFN Norm Checkpoint Logits Working_set Total"
    return by((column.replace("_", " ") for column in columns.split()), rows)


# Questions and answers


def longest() -> Cells:
    """Each byte of a peak that the loss sets is a token's, but for the states and the loss itself."""
    cards = {
        "A100 80 GB": 81_920 * 2**20,
        "H100 80 GB": 81_559 * 2**20,
        "H200 141 GB": ACCELERATORS["h200-141gb"].memory_bytes,
        "B200 192 GB": ACCELERATORS["b200-192gb"].memory_bytes,
    }
    rows = {}
    for policy in ("none", "pointwise", "every_2", "ffn", "save_attention", "full"):
        of_a_token = all_bytes(policy, 1) + 4 * H + 4 + 12 * C.vocab_size
        fixed_bytes = 16 * -(-by_hand.n_parameters() // 8) + 4
        most = [(memory - fixed_bytes) // of_a_token for memory in cards.values()]
        rows[policy] = (percent(overhead(policy)), *(f"{tokens:,}" for tokens in most))
    return by(("more FLOPs at 16K", *cards), rows)


# Memory over sequence length


def _step(policy: str, seq_len: int) -> dict[str, int]:
    """The peak of a step on one rank, part by part: the loss needs the most room at every length."""
    sizes, count, logits = tensors(seq_len), by_hand.n_parameters(), 4 * seq_len * C.vocab_size
    parts = dict.fromkeys(("Attention", "FFN", "Norm", "Checkpoint"), 0)
    starts = {"attention": {"input"}, "ffn": {"residual"}, "both": {"input", "residual"}}.get(policy, set())
    names = {"attention": "Attention", "ffn": "FFN", "norm": "Norm"}
    for name in kept(policy):
        parts["Checkpoint" if name in starts else names[component(name)]] += LAYERS * sizes[name]
    states = {"Parameters": 4 * count, "Gradients": 4 * count, "Optimizer": 8 * count}
    head = {"Logits": 4 * seq_len * H + 4 * seq_len + logits + 4, "Working set": 2 * logits}
    return states | parts | head


FOUR = ("none", "attention", "ffn", "both")


def side_by_side() -> Cells:
    columns = [_step(policy, LONG) for policy in FOUR]
    rows = {part: [fixed(column[part] / 2**30, 1) for column in columns] for part in columns[0]}
    return by(FOUR, rows | {"sum": [fixed(sum(column.values()) / 2**30, 1) for column in columns]})


def side_by_side_over_lengths(lengths: Iterable[int]) -> Cells:
    rows = {
        f"{seq_len:,}": [fixed(sum(_step(policy, seq_len).values()) / 2**30, 1) for policy in FOUR]
        for seq_len in lengths
    }
    return by(FOUR, rows)


# Recomputation


def strategies() -> Cells:
    names = {"none": "none", "A attention": "attention", "B ffn": "ffn", "C both": "both", "full": "full"}
    rows = {
        label: (
            "–" if name == "full" else terms(*by_hand.paper_bytes(name, 2)),
            terms(*by_hand.paper_bytes(name)),
            f"{sbh(block_bytes(name), LONG)} SBH",
            size(block_bytes(name)),
        )
        for label, name in names.items()
    }
    return by(("workshop", "paper", "Llama", "Llama at 16K"), rows)


def block_map() -> Cells:
    sizes = {name: n for name, n in tensors(LONG).items() if name not in kept(attention="eager") - kept()}
    sizes.pop("attention.scores")
    rows = {name: [size(n) if name in kept(policy) else "–" for policy in POLICIES] for name, n in sizes.items()}
    rows["a block keeps"] = [size(block_bytes(policy)) for policy in POLICIES]
    rows["bytes for each S·B·H"] = [sbh(block_bytes(policy), LONG) for policy in POLICIES]
    rows["more FLOPs"] = [percent(overhead(policy)) for policy in POLICIES]
    return by(POLICIES, rows)


# Memory over sequence length


def doubling() -> Cells:
    def grows(one: int, two: int) -> str:
        return times(two / one, 2)

    rows = {
        f"{k}K to {2 * k}K": (
            grows(*(paper_all_bytes(seq_len=s) for s in (1024 * k, 2048 * k))),
            grows(*(all_bytes(seq_len=s, attention="eager") for s in (1024 * k, 2048 * k))),
            grows(*(all_bytes(seq_len=s) for s in (1024 * k, 2048 * k))),
        )
        for k in (1, 4, 16, 64)
    }
    return by(("paper", "Llama, eager", "Llama, flash"), rows)
