"""Faults for `planted_faults`, by kind: each replaces a piece of text that stands once in its file."""

from __future__ import annotations

from typing import NamedTuple

BOOK = "docs/book"
STEPS, HALVES, FLASH, TEXT = (f"{BOOK}/quantities/{name}.py" for name in ("steps", "halves", "flash", "text"))
PARTS, FIGURE, TABLE = (f"{BOOK}/components/{name}" for name in ("template.py", "figure.py", "templates/table.html"))
FIRST, COST, FLASH_PAGE, MEMORY = (
    f"{BOOK}/chapters/{name}.py" for name in ("attention_first", "compute_cost", "flash_attention", "training_memory")
)
LLAMA = "actckpt/blocks/llama.py"


class Fault(NamedTuple):
    """One replacement, of text that stands once in its file."""

    name: str
    file: str
    right: str
    wrong: str


FAULTS = tuple(
    Fault(*fault)
    for fault in (
        # quantities
        ("states not divided over 8 ranks", STEPS, "step(model=model, data_parallel=ranks)", "step(model=model)"),
        (
            "per SBH of the wrong model",
            STEPS,
            "(seq_len * PRESETS[model].hidden_size)",
            "(seq_len * CONFIG.hidden_size)",
        ),
        ("what is left for what is saved", STEPS, "return 1 - kept(policy", "return kept(policy"),
        ("four times the length", STEPS, "seq_len=seq_len // 2", "seq_len=seq_len // 4"),
        ("squared by key/value heads", STEPS, "squared / config.n_heads", "squared / config.n_kv_heads"),
        ("the least alive", STEPS, "return max(each.bytes", "return min(each.bytes"),
        ("the dearest that fits", f"{BOOK}/quantities/peaks.py", "return min(fitting", "return max(fitting"),
        (
            "too long by a token",
            f"{BOOK}/quantities/peaks.py",
            "    return fits\n",
            "    return fits + 1\n",
        ),
        ("parity without its rules", HALVES, "parity_length(model, rules=rules)", "parity_length(model)"),
        (
            "an advantage the wrong way round",
            HALVES,
            "return float(attention_advantage(",
            "return 1 / float(attention_advantage(",
        ),
        (
            "every load counted once",
            FLASH,
            "LOADS = Kernels(traffic.flash_forward(SHAPE, TILES)",
            "LOADS = Kernels(traffic.flash_forward(SHAPE)",
        ),
        (
            "the intensity of one pass",
            FLASH,
            "traffic.run_flops(kernels.both) / traffic",
            "traffic.run_flops(kernels.forward) / traffic",
        ),
        ("TB of 2^40", FLASH, ".value * 1e12", ".value * 2**40"),
        ("GiB of 10^9", TEXT, "fixed(n_bytes / GIB, digits)", "fixed(n_bytes / GB, digits)"),
        (
            "always rounded up",
            TEXT,
            "import ROUND_HALF_UP, Decimal",
            "import ROUND_UP as ROUND_HALF_UP, Decimal",
        ),
        (
            "the most for the least",
            "docs/book/quantities/costs.py",
            "for length in LENGTHS)[at]",
            "for length in LENGTHS)[~at]",
        ),
        (
            "published times the wrong way round",
            "docs/book/quantities/sources.py",
            "else one.value / other.value)",
            "else other.value / one.value)",
        ),
        ("a published figure", "docs/data/sources.yml", "value: 7.3", "value: 7.8"),
        (
            "an explorer that opens unshared",
            "docs/book/quantities/grid.py",
            'data_parallel=opens["ranks"]',
            "data_parallel=1",
        ),
        (
            "the masks left out",
            "docs/book/quantities/tensors.py",
            'named(PAPER_BLOCK, ("softmax", "softmax_dropout_mask", "softmax_dropout"))',
            'named(PAPER_BLOCK, ("softmax", "softmax_dropout"))',
        ),
        # components
        ("columns from the right", TABLE, "for cell in cells[1:] %}", "for cell in cells[1:] | reverse %}"),
        ("headings from the right", TABLE, "for name in head %}", "for name in head[:1] + head[:0:-1] %}"),
        ("no sums", TABLE, "{% for foot in feet %}{{ row(foot) }}{% endfor %}", ""),
        ("the axis for the values", FIGURE, "_cell((trace.x if across else trace.y)[index])", "_cell(trace.x[index])"),
        (
            "a chart's columns from the right",
            FIGURE,
            "for trace in traces)]\n        for index",
            "for trace in traces[::-1])]\n        for index",
        ),
        (
            "GiB of 10^9 under a heading",
            PARTS,
            "text.fixed(n_bytes / GIB, digits)",
            "text.fixed(n_bytes / 10**9, digits)",
        ),
        ("exact bytes that are not", PARTS, "n_bytes, n_bytes, attribute", "n_bytes // 2, n_bytes // 2, attribute"),
        (
            "the paper's stack for Llama's",
            "docs/book/chapters/activations.py",
            "_layers(LLAMA_STEP, LLAMA_NORMS, LLAMA_KEEPS, formula)",
            "_layers(PAPER_STEP, PAPER_NORMS, PAPER_KEEPS, symbolic)",
        ),
        (
            "paper and Llama swapped on the cards",
            "docs/book/components/templates/cards.html",
            "{{ formula }}",
            "{{ real }} SBH",
        ),
        # pages and chapters
        (
            "a number that no test expects",
            "docs/exercises.md",
            "{{ n(chapter.count()) }} questions",
            "{{ n(chapter.count()) }} of {{ n(20) }} questions",
        ),
        (
            "a prose number of another policy",
            "docs/workshop/attention-first.md",
            'gib(kept("pointwise"))',
            'gib(kept("attention"))',
        ),
        (
            "a prose number of another length",
            "docs/workshop/compute-cost.md",
            'overhead("save_attention", seq_len=LENGTHS[-1])',
            'overhead("save_attention")',
        ),
        (
            "a prose number of another accounting",
            "docs/workshop/recomputation.md",
            'grows(accounting="paper")',
            "grows()",
        ),
        (
            "saved and cost swapped",
            FIRST,
            "gib_cell(choice.saved_bytes), fixed(100 * choice.overhead, 1)",
            "fixed(100 * choice.overhead, 1), gib_cell(choice.saved_bytes)",
        ),
        (
            "eager and flash swapped",
            FIRST,
            'for attention in ("eager", "flash")',
            'for attention in ("flash", "eager")',
        ),
        ("another length under a heading", COST, "for place in (0, 2, 4, 7)", "for place in (0, 2, 4, 6)"),
        (
            "forward and backward swapped",
            COST,
            'for way in ("forward", "backward"))',
            'for way in ("backward", "forward"))',
        ),
        (
            "the wrong measured time",
            COST,
            '("core attention", "core_attention", "selective")',
            '("core attention", "core_attention", "full")',
        ),
        (
            "workshop and paper swapped",
            "docs/book/chapters/recomputation.py",
            '_terms(name, "paper"),',
            '_terms(name, "workshop") if name != "full" else "",',
        ),
        (
            "policies of the peak swapped",
            MEMORY,
            "parts_of(step(policy))[part]) for policy in policies",
            "parts_of(step(policy))[part]) for policy in policies[::-1]",
        ),
        ("shared by nobody", MEMORY, "steps.states(name, ranks)", "steps.states(name)"),
        ("bold where it does not fit", MEMORY, "if n_bytes <= CARD.memory_bytes", "if n_bytes > CARD.memory_bytes"),
        (
            "long before short",
            FLASH_PAGE,
            "for length in lengths for word in",
            "for length in lengths[::-1] for word in",
        ),
        (
            "the slower is the faster",
            FLASH_PAGE,
            "device) for kernels in (STANDARD, FLASH))\n    return device",
            "device) for kernels in (FLASH, STANDARD))\n    return device",
        ),
        ("latencies swapped", FLASH_PAGE, "PUBLISHED['shared_latency'].words", "PUBLISHED['l1_latency'].words"),
        (
            "eager doubled as flash",
            "docs/book/chapters/memory_over_sequence_length.py",
            '"Llama, eager": {"attention": "eager"}',
            '"Llama, eager": {"attention": "flash"}',
        ),
        (
            "fused and unfused swapped",
            "docs/book/chapters/activations.py",
            "for terms in (block, unfused))",
            "for terms in (unfused, block))",
        ),
        (
            "a headline of the real block",
            "docs/book/chapters/index.py",
            'percent(overhead("both", accounting="workshop"))',
            'percent(overhead("both"))',
        ),
        # the package
        ("rope under norm", LLAMA, '("rope.q", "attention", q', '("rope.q", "norm", q'),
        (
            "a statistic of two bytes",
            LLAMA,
            '("attention.lse", "attention", (B, n, S), "float32")',
            '("attention.lse", "attention", (B, n, S), "bfloat16")',
        ),
        ("four matmuls backward", LLAMA, "backward = (5 if rules", "backward = (4 if rules"),
        (
            "every load of a tile counted once",
            "actckpt/formulas/traffic.py",
            "return -(-shape.seq_len // queries) * shape.q_bytes",
            "return shape.kv_bytes",
        ),
        (
            "states that half of the ranks share",
            "actckpt/states.py",
            "share = get_optimizer(optimizer), -(-n_parameters // data_parallel)",
            "share = get_optimizer(optimizer), -(-n_parameters // max(1, data_parallel // 2))",
        ),
        ("a recomputation that always stops early", "actckpt/blocks/block.py", "if early_stop and not", "if not"),
        (
            "a mask of two bytes",
            "actckpt/blocks/gpt.py",
            '("softmax_dropout_mask", "attention", scores, "bool")',
            '("softmax_dropout_mask", "attention", scores, "bfloat16")',
        ),
        (
            "bytes for a whole step",
            "actckpt/tradeoff.py",
            "self.saved_bytes / (100 * self.overhead)",
            "self.saved_bytes / (10 * self.overhead)",
        ),
        ("a slower H100", "actckpt/hardware.py", "bandwidth=3.35e12", "bandwidth=3e12"),
    )
)
