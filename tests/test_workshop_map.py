"""Where on the site each element of the workshop is (W1–W27), and that it shows the package's numbers there."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import pytest
from sections import Section

from actckpt import ACCELERATORS, POLICIES, PRESETS, estimate
from actckpt.formulas import traffic
from actckpt.formulas.flops import gpt_forward_flops, workshop_overheads
from actckpt.formulas.timeline import timeline
from actckpt.tradeoff import parity_length, tradeoff

pytest_plugins = ["built_site"]

MODEL = "llama-3.1-8b"
CONFIG = PRESETS[MODEL]
LONG = 16_384
GIB, MIB, KIB = 2**30, 2**20, 2**10
A100 = ACCELERATORS["a100-80gb"]


def fixed(value: float, digits: int = 1) -> str:
    return f"{value:,.{digits}f}"


def percent(share: float | Fraction, digits: int = 1) -> str:
    return f"{fixed(100 * float(share), digits)} %"


def growth(accounting: str) -> tuple[int, int]:
    """The coefficients of SBH and of nS²B in what a block keeps."""
    once, twice = (estimate(MODEL, seq_len=s, accounting=accounting).block.bytes for s in (1024, 2048))
    squared = (twice - 2 * once) // 2 // (1024**2 * CONFIG.n_heads)
    return (4 * once - twice) // 2 // (1024 * CONFIG.hidden_size), squared


def component(name: str) -> str:
    """Bytes for each SBH of a component of the paper's block, without the part that grows with S²."""
    once, twice = (estimate(MODEL, seq_len=s, accounting="paper").block.component_bytes(name) for s in (1024, 2048))
    return f"{(4 * once - twice) // 2 // (1024 * CONFIG.hidden_size)} SBH"


def per_sbh(policy: str) -> str:
    return fixed(estimate(MODEL, seq_len=LONG, policy=policy).block.bytes / (LONG * CONFIG.hidden_size), 2)


def paper_total() -> list[str]:
    linear, squared = growth("paper")
    scores = squared * CONFIG.n_heads * 4096
    share = scores / (scores + linear * CONFIG.hidden_size)
    return [f"{linear} SBH + {squared} nS²B", percent(share, 0)]


def headline() -> list[str]:
    linear, squared = growth("paper")
    none, both = (estimate(MODEL, seq_len=1024, policy=p, accounting="workshop").total_bytes for p in ("none", "both"))
    return [f"{linear} SBH", f"{squared} nS²", percent(workshop_overheads(1, 2)["both"]), percent(1 - both / none)]


def layer_stack() -> list[str]:
    block = estimate(MODEL, seq_len=4096).block
    return [f"{fixed(block.component_bytes(name) / MIB)} MiB" for name in ("attention", "ffn")]


def peaks(policy: str) -> list[str]:
    passes = timeline(replace(CONFIG, n_layers=4), seq_len=LONG, policy=POLICIES[policy])
    return [f"{max(one.bytes for one in passes) / GIB:.3g} GiB"]


def step_flops() -> list[str]:
    once, twice = (sum(gpt_forward_flops(s, 1, 1)[half] for half in ("attention", "ffn")) for s in (1, 2))
    squared = (twice - 2 * once) // 2
    return [f"{once - squared} BSH² + {squared} BS²H"]


def overheads() -> list[str]:
    """The workshop's two cases: a sequence that is short against H, and one as long as H."""
    cases = [gpt_forward_flops(seq_len, 1, 4096) for seq_len in (1, 4096)]
    shares = [workshop_overheads(int(flops["attention"]), int(flops["ffn"])) for flops in cases]
    return [percent(case[half]) for case in shares for half in ("attention", "ffn", "both")]


def checkpoint() -> list[str]:
    """How many times smaller it is, counted in bytes, and how large."""
    one = LONG * CONFIG.hidden_size * 2
    linear, _ = growth("paper")
    return [f"{fixed(linear / 2, 0)} ×", f"{one // MIB} MiB", per_sbh("full")]


def over_lengths() -> list[str]:
    return [
        fixed(100 * estimate(MODEL, seq_len=s, policy="both", **how).flops.overhead, 2)
        for s in (1024, 131_072)
        for how in ({"accounting": "workshop"}, {"accounting": "llama"})
    ]


def shares_of_attention() -> list[str]:
    block = estimate(MODEL, seq_len=LONG, accounting="workshop").block
    flops = gpt_forward_flops(LONG, 1, CONFIG.hidden_size)
    compute = flops["attention"] / (flops["attention"] + flops["ffn"])
    return [percent(block.component_bytes("attention") / block.bytes, 0), percent(compute, 0)]


def efficiency() -> list[str]:
    worlds = ({"accounting": "workshop"}, {"attention": "eager"}, {"attention": "flash"})
    choices = [
        tradeoff(MODEL, policy, seq_len=LONG, **how) for how in worlds for policy in ("attention", "ffn", "both")
    ]
    return [fixed(choice.saved_bytes / GIB / (100 * choice.overhead), 2) for choice in choices]


def advantages() -> list[str]:
    """How many times the bytes a percent buys in attention, by the workshop's count."""

    def rate(policy: str, seq_len: int) -> float:
        choice = tradeoff(MODEL, policy, seq_len=seq_len, accounting="workshop")
        return choice.saved_bytes / choice.overhead

    return [fixed(rate("attention", s) / rate("ffn", s), 2) for s in (1024, 4096, LONG, 131_072)]


def sram() -> list[str]:
    return [
        str(A100.n_sms),
        f"{A100.sram_bytes // KIB} KiB",
        f"{A100.total_sram_bytes / MIB:g} MiB",
        f"{A100.bandwidth / 1e12:.4g} TB/s",
    ]


def moved() -> list[str]:
    shape = traffic.Shape.of(CONFIG, 4096)
    return [
        fixed(traffic.moved_bytes(run(shape)) / 1e9, 3) for run in (traffic.standard_forward, traffic.flash_forward)
    ]


def tiles() -> list[str]:
    from actckpt.ops.attention.config import launches

    forward = launches((8, 0), 2, CONFIG.head_dim, descriptors=False).forward
    return [str(forward.block_m), str(forward.block_n), f"{forward.block_n * CONFIG.head_dim * 2 // KIB} KiB"]


def online_softmax() -> list[str]:
    from book.quantities import online_softmax as row

    from actckpt import flash_attention

    output = flash_attention(*row.inputs())
    return ["(" + ", ".join(fixed(value, 3) for value in output.flatten().tolist()) + ")"]


def compared() -> list[str]:
    eager, flash = (
        estimate(MODEL, seq_len=4096, attention=kind).block.component_bytes("attention") for kind in ("eager", "flash")
    )
    return [f"{eager / GIB:.3g} GiB", f"{fixed(flash / MIB)} MiB"]


def bounds() -> list[str]:
    shape = traffic.Shape.of(CONFIG, 4096)
    standard = [*traffic.standard_forward(shape), *traffic.standard_backward(shape)]
    flash = [*traffic.flash_forward(shape), *traffic.flash_backward(shape)]
    more = traffic.run_flops(flash) / traffic.run_flops(standard) - 1
    return [fixed(A100.balance, 0), percent(more, 0)]


def composed() -> list[str]:
    step = estimate(MODEL, seq_len=131_072, policy="full")
    return [f"{fixed(step.total_bytes / GIB)} GiB", percent(step.flops.overhead)]


def states() -> list[str]:
    step = estimate(MODEL, seq_len=1024)
    return [f"{fixed(step.states.parameters_bytes / GIB)} GiB", f"{fixed(step.states.parameters_bytes / 1e9)} GB"]


def opening_peak(seq_len: int, accounting: str) -> list[str]:
    return [f"{fixed(estimate(MODEL, seq_len=seq_len, accounting=accounting).peak_bytes / GIB)} GiB"]


def strategies_side_by_side() -> list[str]:
    """The peak of each strategy, as the panels open."""
    steps = (estimate(MODEL, seq_len=LONG, policy=policy) for policy in ("none", "attention", "ffn", "both"))
    return [f"{fixed(step.peak_bytes / GIB)} GiB" for step in steps]


def lessons() -> list[str]:
    """What the verdicts on the takeaways turn on: how large the activations are, and where the order turns round."""
    kept = (estimate(MODEL, seq_len=LONG, attention=kind).total_bytes for kind in ("eager", "flash"))
    eager, flash = (n_bytes / GIB for n_bytes in kept)
    return [f"{fixed(eager, 0)} GiB", f"{fixed(flash)} GiB", f"{parity_length(MODEL):,}"]


@dataclass(frozen=True)
class Place:
    """Where an element is, and some of the numbers that stand there."""

    page: str
    anchor: str
    numbers: Callable[[], list[str]] = field(default=list)


PLACES = {
    "W1": Place("", "four-figures-and-what-each-one-assumes", headline),
    "W2": Place("workshop/activations", "layer-stack", layer_stack),
    "W3": Place("workshop/activations", "three-components", lambda: [*map(component, ("attention", "ffn", "norm"))]),
    "W4": Place("workshop/activations", "total", paper_total),
    "W5": Place("workshop/training-memory", "the-sum", states),
    "W6": Place("workshop/training-memory", "breakdown", lambda: opening_peak(4096, "llama")),
    "W7": Place("workshop/recomputation", "store-everything", lambda: peaks("none")),
    "W8": Place("workshop/recomputation", "keep-a-checkpoint", lambda: peaks("full")),
    "W9": Place("workshop/recomputation", "checkpoint-tensors", checkpoint),
    "W10": Place(
        "workshop/recomputation", "three-strategies", lambda: [*map(per_sbh, ("none", "attention", "ffn", "both"))]
    ),
    "W11": Place("workshop/memory-over-sequence-length", "lengths", strategies_side_by_side),
    "W12": Place("workshop/compute-cost", "flops-of-a-block", step_flops),
    "W13": Place("workshop/compute-cost", "overhead", overheads),
    "W14": Place(
        "workshop/compute-cost",
        "worked-example",
        lambda: [percent(share) for share in workshop_overheads(100, 300).values()],
    ),
    "W15": Place("workshop/compute-cost", "overhead-over-sequence-length", over_lengths),
    "W16": Place("workshop/attention-first", "where-the-rule-comes-from", shares_of_attention),
    "W17": Place("workshop/attention-first", "what-a-percent-buys", efficiency),
    "W18": Place("workshop/attention-first", "the-advantage-grows", advantages),
    "W19": Place("workshop/flash-attention", "gpu-memory", sram),
    "W20": Place(
        "workshop/flash-attention",
        "the-s-by-s-matrix",
        lambda: [f"{traffic.Shape.of(CONFIG, 4096).matrix_bytes // GIB} GiB"],
    ),
    "W21": Place("workshop/flash-attention", "standard-and-flash", moved),
    "W22": Place("workshop/flash-attention", "tiles", tiles),
    "W23": Place("workshop/flash-attention", "online-softmax", online_softmax),
    "W24": Place("workshop/flash-attention", "flash-as-checkpointing", compared),
    "W25": Place("workshop/flash-attention", "more-flops-less-time", bounds),
    "W26": Place("workshop/flash-attention", "with-checkpointing", composed),
    "W27": Place("workshop/takeaways", "takeaways", lessons),
}


def test_the_map_is_complete() -> None:
    assert list(PLACES) == [f"W{number}" for number in range(1, 28)]


@pytest.mark.parametrize("element", PLACES)
def test_element(site: Path, element: str) -> None:
    place = PLACES[element]
    section = Section((site / place.page / "index.html").read_text("utf-8"), place.anchor)
    assert section.text is not None, f"no #{place.anchor} on {place.page}"
    numbers = place.numbers()
    assert numbers
    for number in numbers:
        assert re.search(rf"(?<![\d.,]){re.escape(number)}(?![\d.,]*\d)", section.words), (
            f"{number} in: {section.words}"
        )


def test_a_section_ends_where_the_next_begins() -> None:
    html = "<h2 id='a'>A</h2><p>1</p><h3>B</h3><p>2</p><h2>C</h2><p>3</p><div id='d'><div>4</div> 5</div>6</article>7"
    assert Section(html, "a").words == "A 1 B 2"
    assert Section(html, "d").words == "4 5"
    assert Section(html, "z").text is None
