"""The small pictures of the takeaways: their numbers and lengths are the package's."""

import re
from collections.abc import Iterator

import pytest
from book.claims import SECTIONS
from book.components.pictures import lessons

from actckpt import estimate
from actckpt.tradeoff import attention_advantage, parity_length

MODEL, LONG = "llama-3.1-8b", 16_384
GIB = 2**30


def drawn(anchor: str) -> str:
    return "".join(lessons.PICTURES[anchor][0]())


def said(anchor: str) -> list[str]:
    return [words.replace("\u00a0", " ") for words in re.findall(r"<text[^>]*>([^<]*)</text>", drawn(anchor))]


def lines(anchor: str) -> Iterator[list[tuple[float, float]]]:
    for d in re.findall(r'<path class="ac-line ac-thick[^>]*? d="M([^"]+)"', drawn(anchor)):
        yield [(float(x), float(y)) for x, y in (point.split() for point in d.split("L"))]


def widths(anchor: str) -> list[float]:
    return [float(width) for width in re.findall(r'<rect class="ac-area[^>]*? width="([\d.]+)"', drawn(anchor))]


def more_flops(policy: str, seq_len: int = LONG) -> float:
    return estimate(MODEL, seq_len=seq_len, policy=policy).flops.overhead


def test_every_takeaway_has_a_picture() -> None:
    anchors = [claim.taught.partition("#")[2] for claim in SECTIONS["takeaways"]]
    assert list(lessons.PICTURES) == anchors


def test_activations_overtake_the_states() -> None:
    words = said("activations-dominate")
    states = estimate(MODEL, seq_len=1).states.bytes
    for attention in ("eager", "flash"):
        (length,) = (int(word.split()[-1].replace(",", "")) for word in words if word.startswith(attention))
        before, after = (estimate(MODEL, seq_len=length + more, attention=attention).total_bytes for more in (-1, 0))
        assert before <= states < after
    assert f"states {states / GIB:,.0f} GiB" in words
    level, eager, flash = lines("activations-dominate")
    # the level of the states, and where the lines of activations end, on one scale from zero
    ground = eager[0][1]
    per_gib = (ground - level[0][1]) / (states / GIB)
    longest = estimate(MODEL, seq_len=2 * LONG).total_bytes
    assert (ground - flash[-1][1]) / per_gib == pytest.approx(longest / GIB, rel=1e-3)
    assert eager[-1][1] < level[0][1]


def test_the_order_turns_round_where_the_line_crosses() -> None:
    eager, flash = lines("attention-first")
    parity = parity_length(MODEL)
    assert f"flash: FFN first, from {parity:,} tokens" in said("attention-first")
    for line, attention in ((eager, "eager"), (flash, "flash")):
        ahead = [attention_advantage(MODEL, seq_len=2**power, attention=attention) > 1 for power in range(10, 18)]
        level = lessons.ADVANTAGE.at(0, 0)[1]
        assert [y < level for _, y in line] == ahead


def test_what_recomputing_a_half_costs() -> None:
    words = said("ffn-is-expensive")
    for half, name in (("ffn", "FFN"), ("attention", "attention")):
        first, last = (f"{100 * more_flops(half, seq_len):.1f} %" for seq_len in (1024, 131_072))
        assert f"{name} {first}" in words
        assert last in words
    ffn, attention = lines("ffn-is-expensive")
    assert ffn[0][1] < ffn[-1][1]
    assert attention[0][1] > attention[-1][1]


def test_no_bar_reaches_a_third() -> None:
    words = said("at-most-a-third")
    policies = [word for word in words if re.fullmatch(r"[a-z_]+", word)]
    assert len(policies) == 5
    assert [word for word in words if word.endswith("%")] == [f"{100 * more_flops(name):.1f} %" for name in policies]
    (third,) = {float(x) for x in re.findall(r'd="M([\d.]+) 18V', drawn("at-most-a-third"))} - {104.0}
    for width, policy in zip(widths("at-most-a-third"), policies, strict=True):
        assert width / (third - 104) == pytest.approx(3 * more_flops(policy), abs=1e-3)


def test_one_matmul_more_in_the_backward_pass() -> None:
    # two gradients for each of two matmuls, and the scores again
    assert drawn("flash-is-checkpointing").count('class="ac-box ac-attention"') == 2 + 4
    assert drawn("flash-is-checkpointing").count("ac-empty") == 1
    block = estimate(MODEL, seq_len=LONG).block
    assert not [term for term in block if term.shape[-2:] == (LONG, LONG)]


def test_bars_of_what_the_blocks_keep() -> None:
    steps = [
        estimate(MODEL, seq_len=LONG, attention="eager"),
        estimate(MODEL, seq_len=LONG),
        estimate(MODEL, seq_len=LONG, policy="ffn"),
    ]
    assert [word for word in said("they-compose") if word.endswith("GiB")] == [
        f"{step.total_bytes / GIB:,.{0 if step.total_bytes >= 100 * GIB else 1}f} GiB" for step in steps
    ]
    parts = [step.by_component()[part] for step in steps for part in ("checkpoint", "norm", "attention", "ffn")]
    scale = lessons.WIDTH / steps[0].total_bytes
    assert widths("they-compose") == pytest.approx([scale * n_bytes for n_bytes in parts], abs=0.01)
