"""The numbers in the prose of "Attention first?": `{{ advantage.name }}` on a page."""

from __future__ import annotations

from actckpt import PRESETS, FlopRules, estimate
from actckpt.tradeoff import attention_advantage, parity_length, tradeoff
from book.quantities import published, text

MODEL = "llama-3.1-8b"
MODELS = ("llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b")
LONG = 16_384
# how FLOPs may be counted, by the name of a table's column
RULES = {
    "as PyTorch": FlopRules(),
    "no early stop": FlopRules(early_stop=False),
    "not causal": FlopRules(causal=False),
    "neither": FlopRules(early_stop=False, causal=False),
}


def parity(model: str = MODEL, rules: FlopRules | None = None) -> int:
    """The length from which the FFN half is the better one, with flash attention."""
    length = parity_length(model, rules=rules)
    assert length is not None
    return length


def parity_share(model: str = MODEL) -> float:
    """The parity as a share of the hidden size, by the formula of the page: 2f(3 + 2r)/(1 + 3f) − 1 − 2r."""
    config = PRESETS[model]
    r, f = config.n_kv_heads / config.n_heads, config.ffn_size / config.hidden_size
    return 2 * f * (3 + 2 * r) / (1 + 3 * f) - 1 - 2 * r


def parity_shares() -> str:
    """The formula's share for the models of the page, from the least to the most."""
    found = sorted(parity_share(model) for model in MODELS)
    return f"{text.fixed(found[0], 2)}–{text.fixed(found[-1], 2)}"


def _advantage(seq_len: int, **how: object) -> float:
    return float(attention_advantage(MODEL, seq_len=seq_len, **how))


def discarded(seq_len: int) -> float:
    """The workshop's ratio of bytes for a percent of FLOPs, attention over FFN, checkpoints aside."""
    # what A and B discard, without the checkpoint that they add
    step = estimate(MODEL, seq_len=seq_len, accounting="workshop")
    costs = [tradeoff(MODEL, half, seq_len=seq_len, accounting="workshop").overhead for half in ("attention", "ffn")]
    attention, ffn = (step.block.component_bytes(half) for half in ("attention", "ffn"))
    return float(attention / ffn * costs[1] / costs[0])


def _times(value: float, digits: int = 1) -> str:
    return f"{text.fixed(value, digits)}\u00a0×"


def discarded_1k() -> str:
    """The workshop's ratio at 1K tokens."""
    return _times(discarded(1024))


def discarded_3k() -> str:
    """The workshop's ratio at 3K tokens."""
    return _times(discarded(3072))


def discarded_4k() -> str:
    """The workshop's ratio at 4K tokens."""
    return _times(discarded(4096))


def discarded_16k() -> str:
    """The workshop's ratio at 16K tokens."""
    return _times(discarded(LONG))


def workshop_16k() -> str:
    """The workshop's ratio at 16K tokens, the checkpoint subtracted."""
    return _times(_advantage(LONG, accounting="workshop"))


def workshop_limit() -> str:
    """What the workshop's ratio of discarded bytes approaches, from a sequence far beyond any model."""
    return _times(discarded(2**34))


def eager_16k() -> str:
    """The ratio of the real block with eager attention at 16K tokens."""
    return _times(_advantage(LONG, attention="eager"))


def flash_16k() -> str:
    """How many times more the FFN half gives at 16K tokens, with flash attention."""
    return _times(1 / _advantage(LONG))


def flash_16k_range() -> str:
    """The same under every rule of counting, from the least to the most."""
    found = sorted(1 / _advantage(LONG, rules=rules) for rules in RULES.values())
    return f"{text.fixed(found[0], 1)}–{_times(found[-1])}"


def flash_128k() -> str:
    """The same at 128K tokens."""
    return _times(1 / _advantage(131_072), 0)


def parity_8b() -> str:
    """The parity of 8B, in tokens."""
    return f"{parity():,}"


def parity_range() -> str:
    """The parity of 8B under every rule of counting."""
    found = sorted(parity(MODEL, rules) for rules in RULES.values())
    return f"{found[0]:,}–{found[-1]:,}"


def parity_70b() -> str:
    """The parity of 70B."""
    return f"{parity(MODELS[1]):,}"


def parity_405b() -> str:
    """The parity of 405B."""
    return f"{parity(MODELS[2]):,}"


def _share(part: str, seq_len: int) -> float:
    how = {"accounting": "workshop"}
    flops = {half: estimate(MODEL, seq_len=seq_len, policy=half, **how).flops for half in ("attention", "ffn")}
    return flops[part].recompute / flops[part].forward


def compute_short() -> str:
    """Attention's share of the forward FLOPs where the sequence is very short, by the workshop's formulas."""
    return text.percent(_share("attention", 1), 0)


def compute_at_h() -> str:
    """The same where S = H."""
    return text.percent(_share("attention", PRESETS[MODEL].hidden_size), 0)


def compute_16k() -> str:
    """The same at 16K tokens."""
    return text.percent(_share("attention", LONG), 0)


def ffn_compute_short() -> str:
    """The FFN's share where the sequence is very short."""
    return text.percent(_share("ffn", 1), 0)


def ffn_compute_at_h() -> str:
    """The FFN's share where S = H."""
    return text.percent(_share("ffn", PRESETS[MODEL].hidden_size), 0)


def ffn_compute_16k() -> str:
    """The FFN's share at 16K tokens."""
    return text.percent(_share("ffn", LONG), 0)


def _memory_share(part: str, seq_len: int) -> str:
    block = estimate(MODEL, seq_len=seq_len, accounting="workshop").block
    return text.percent(block.component_bytes(part) / block.bytes, 0)


def memory_1k() -> str:
    """Attention's share of a block's bytes at 1K tokens, by the workshop's count."""
    return _memory_share("attention", 1024)


def memory_16k() -> str:
    """The same at 16K tokens."""
    return _memory_share("attention", LONG)


def ffn_memory_16k() -> str:
    """The FFN's share at 16K tokens."""
    return _memory_share("ffn", LONG)


def attention_overtakes() -> str:
    """The first power of two from which attention has as many forward FLOPs as the FFN, by the workshop's formulas."""
    return f"{next(2**power for power in range(30) if _share('attention', 2**power) >= 0.5):,}"


def kept_pointwise() -> str:
    """What pointwise leaves."""
    return text.prose_gib(tradeoff(MODEL, "pointwise", seq_len=LONG).kept_bytes)


def kept_none() -> str:
    """What no recomputation leaves."""
    return text.prose_gib(tradeoff(MODEL, "none", seq_len=LONG).kept_bytes)


def kept_attention() -> str:
    """What recomputing the attention half leaves."""
    return text.prose_gib(tradeoff(MODEL, "attention", seq_len=LONG).kept_bytes)


def kept_save_attention() -> str:
    """What save_attention leaves."""
    return text.prose_gib(tradeoff(MODEL, "save_attention", seq_len=LONG).kept_bytes)


def kept_both() -> str:
    """What recomputing both halves leaves."""
    return text.prose_gib(tradeoff(MODEL, "both", seq_len=LONG).kept_bytes)


def cost_save_attention() -> str:
    """What save_attention costs."""
    return text.percent(tradeoff(MODEL, "save_attention", seq_len=LONG).overhead)


def cost_both() -> str:
    """What recomputing both halves costs."""
    return text.percent(tradeoff(MODEL, "both", seq_len=LONG).overhead)


def cost_full() -> str:
    """What recomputing whole blocks costs."""
    return text.percent(tradeoff(MODEL, "full", seq_len=LONG).overhead)


def cost_attention() -> str:
    """What recomputing the attention half costs."""
    return text.percent(tradeoff(MODEL, "attention", seq_len=LONG).overhead)


def core_eager() -> str:
    """What recomputing core attention saves with eager attention."""
    return text.percent(_core("eager"), 0)


def core_flash() -> str:
    """The same with flash attention."""
    return text.percent(_core("flash"), 2)


def _core(attention: str) -> float:
    choice = tradeoff(MODEL, "core_attention", seq_len=LONG, attention=attention)
    return float(choice.saved_bytes / (choice.saved_bytes + choice.kept_bytes))


def gpt3_core() -> str:
    """What the package's own formulas give for the paper's GPT-3: saved by recomputing core attention, 2,048 tokens."""
    choice = tradeoff("gpt-3-175b", "core_attention", seq_len=2048, accounting="paper")
    return text.percent(choice.saved_bytes / (choice.saved_bytes + choice.kept_bytes), 0)


def paper_saved() -> str:
    """What the paper says that recomputing core attention saves in GPT-3."""
    return published.PUBLISHED["gpt3_selective_saved"].words


def paper_cost() -> str:
    """What the paper says that it costs."""
    return published.PUBLISHED["gpt3_selective_overhead"].words
