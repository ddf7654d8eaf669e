"""A Llama block and the paper's block worked out by hand, from the sizes of a model alone: an oracle for the pages.

Nothing here asks the package but for those sizes, so that a number that is wrong in the package is wrong beside it.
Batch size 1, bfloat16, statistics and logits in float32.
"""

from __future__ import annotations

from actckpt import PRESETS

MODEL = "llama-3.1-8b"
SIZES = ("llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b")
ATTENTION = ("norm_1.output", "norm_1.rstd", "v_proj", "rope.q", "rope.k")
OP = {
    "flash": ("attention.output", "attention.lse"),
    "eager": ("attention.softmax", "attention.probabilities", "attention.output"),
}
FFN = ("norm_2.output", "norm_2.rstd", "gate_proj", "up_proj", "swiglu.product")


def tensors(seq_len: int, model: str = MODEL) -> dict[str, int]:
    """Every tensor that a policy may keep, in bytes, in the order of the forward pass."""
    c = PRESETS[model]
    hidden, wide, row = 2 * seq_len * c.hidden_size, 2 * seq_len * c.ffn_size, 4 * seq_len
    q, kv = (2 * seq_len * heads * c.hidden_size // c.n_heads for heads in (c.n_heads, c.n_kv_heads))
    matrix = 2 * c.n_heads * seq_len**2
    return {
        "input": hidden,
        "norm_1.output": hidden,
        "norm_1.rstd": row,
        "q_proj": q,
        "k_proj": kv,
        "v_proj": kv,
        "rope.q": q,
        "rope.k": kv,
        "attention.scores": matrix,
        "attention.softmax": 2 * matrix,
        "attention.probabilities": matrix,
        "attention.output": q,
        "attention.lse": c.n_heads * row,
        "residual": hidden,
        "norm_2.output": hidden,
        "norm_2.rstd": row,
        "gate_proj": wide,
        "up_proj": wide,
        "swiglu.product": wide,
    }


def kept(policy: str = "none", attention: str = "flash") -> set[str]:
    """The tensors that a block keeps."""
    first = {*ATTENTION, *OP[attention]}
    return {
        "none": {"input", *first, "residual", *FFN},
        "attention": {"input", "residual", *FFN},
        "ffn": {"input", *first, "residual"},
        "both": {"input", "residual"},
        "full": {"input"},
        # the output is what the o projection reads
        "core_attention": {"input", *ATTENTION, "attention.output", "residual", *FFN},
        "save_attention": {"input", "attention.output"} | ({"attention.lse"} if attention == "flash" else set()),
        "pointwise": {"input", "q_proj", "k_proj", "v_proj", "attention.output", "residual", "gate_proj", "up_proj"}
        | {"attention.lse" if attention == "flash" else "attention.scores"},
    }[policy]


def block_bytes(policy: str = "none", seq_len: int = 16_384, model: str = MODEL, attention: str = "flash") -> int:
    """What one block keeps."""
    sizes = tensors(seq_len, model)
    return sum(sizes[name] for name in kept(policy, attention))


def all_bytes(policy: str = "none", seq_len: int = 16_384, model: str = MODEL, attention: str = "flash") -> int:
    """What all blocks keep."""
    if policy == "every_2":
        return (all_bytes("none", seq_len, model, attention) + all_bytes("full", seq_len, model, attention)) // 2
    return PRESETS[model].n_layers * block_bytes(policy, seq_len, model, attention)


def component(name: str) -> str:
    """What a tensor is counted under where nothing is recomputed."""
    if name in ("input", "residual") or name.startswith("norm_"):
        return "norm"
    return "ffn" if name in FFN else "attention"


def forward(seq_len: int, model: str = MODEL, attention: str = "flash", causal: bool = True) -> dict[str, int]:
    """The forward FLOPs of every op that has any: two for each pair that is multiplied and added."""
    c = PRESETS[model]
    square = 2 * seq_len * c.hidden_size**2
    narrow, wide = square * c.n_kv_heads // c.n_heads, square * c.ffn_size // c.hidden_size
    # eager attention computes what the mask hides
    pairs = seq_len * (seq_len + 1) // 2 if causal and attention == "flash" else seq_len**2
    scores = 2 * c.hidden_size * pairs
    return {
        "q_proj": square,
        "k_proj": narrow,
        "v_proj": narrow,
        "scores": scores,
        "values": scores,
        "o_proj": square,
        "gate_proj": wide,
        "up_proj": wide,
        "down_proj": wide,
    }


def backward(flops: dict[str, int], attention: str = "flash") -> dict[str, float]:
    """The FLOPs of the backward pass: two matmuls for one, and flash attention's scores once more."""
    return {
        op: (2.5 if attention == "flash" and op in ("scores", "values") else 2) * count for op, count in flops.items()
    }


def again(policy: str, attention: str = "flash", early_stop: bool = True) -> set[str]:
    """The ops that the backward pass runs again."""
    first, ffn = {"q_proj", "k_proj", "v_proj", "scores", "values"}, {"gate_proj", "up_proj"}
    o, down = (set() if early_stop else {last} for last in ("o_proj", "down_proj"))
    eager = attention == "eager"
    return {
        "none": set(),
        "attention": first | o,
        "ffn": ffn | down,
        "both": first | o | ffn | down,
        "full": first | {"o_proj"} | ffn | down,
        # eager attention's last matmul saves what it reads
        "core_attention": {"scores"} if eager and early_stop else {"scores", "values"},
        "save_attention": first - ({"values"} if eager else {"scores", "values"}) | {"o_proj"} | ffn | down,
        "pointwise": set(),
    }[policy]


def overhead(
    policy: str,
    seq_len: int = 16_384,
    model: str = MODEL,
    attention: str = "flash",
    causal: bool = True,
    flash_backward: bool = True,
    early_stop: bool = True,
) -> float:
    """What runs again, as a share of the step."""
    if policy == "every_2":
        return overhead("full", seq_len, model, attention, causal, flash_backward, early_stop) / 2
    flops = forward(seq_len, model, attention, causal)
    step = sum(flops.values()) + sum(backward(flops, attention if flash_backward else "eager").values())
    return sum(flops[op] for op in again(policy, attention, early_stop)) / step


def parity(model: str, causal: bool = True, early_stop: bool = True) -> int:
    """The shortest sequence at which the FFN half frees more bytes for a FLOP than the attention half, with flash."""

    def ffn_is_better(seq_len: int) -> bool:
        flops, none = forward(seq_len, model, causal=causal), block_bytes("none", seq_len, model)
        attention, ffn = (
            (none - block_bytes(half, seq_len, model)) / sum(flops[op] for op in again(half, early_stop=early_stop))
            for half in ("attention", "ffn")
        )
        return ffn > attention

    behind, ahead = 2**20, 1
    while behind - ahead > 1:
        middle = (behind + ahead) // 2
        behind, ahead = (middle, ahead) if ffn_is_better(middle) else (behind, middle)
    return behind


def n_parameters(model: str = MODEL) -> int:
    """The weights of a model whose embedding and output projection are two."""
    c = PRESETS[model]
    h, kv = c.hidden_size, c.hidden_size * c.n_kv_heads // c.n_heads
    block = 2 * h * h + 2 * h * kv + 3 * h * c.ffn_size + 2 * h
    return c.n_layers * block + 2 * c.vocab_size * h + h


# the paper's block, in bytes: (of SBH, of nS²B) by component; the attention half without and with its S × S matrices
PAPER = {"attention": (11, 5), "ffn": (19, 0), "norm": (4, 0)}


def paper_bytes(policy: str = "none", factor: int = 1) -> tuple[int, int]:
    """What the paper's block keeps, as multiples of SBH and of nS²B; the workshop's with a factor of 2.

    A checkpoint is 2·SBH beside the norms' inputs, whatever the factor.
    """
    if policy == "full":
        return 2, 0
    gone = {"none": (), "attention": ("attention",), "ffn": ("ffn",), "both": ("attention", "ffn")}[policy]
    linear, squared = (sum(part[place] for name, part in PAPER.items() if name not in gone) for place in (0, 1))
    return factor * linear + (2 if gone else 0), factor * squared


def paper_all_bytes(policy: str = "none", seq_len: int = 16_384, factor: int = 1, model: str = MODEL) -> int:
    """What all of them keep at the sizes of a model."""
    c = PRESETS[model]
    linear, squared = paper_bytes(policy, factor)
    return c.n_layers * (linear * seq_len * c.hidden_size + squared * c.n_heads * seq_len**2)


def third(policy: str, seq_len: int = 16_384, model: str = MODEL) -> float:
    """What a policy adds to a step of the paper's block: 8BSH² + 4BS²H in attention, 16BSH² in the FFN, of 3F."""
    h = PRESETS[model].hidden_size
    attention, ffn = 8 * h + 4 * seq_len, 16 * h
    flops = {"none": 0, "attention": attention, "ffn": ffn, "both": attention + ffn}[policy]
    return flops / (3 * (attention + ffn))
