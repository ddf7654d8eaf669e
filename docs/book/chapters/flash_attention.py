"""The tables, charts and code of "Flash attention"."""

from __future__ import annotations

import inspect
import textwrap
from pathlib import Path

import torch
from markupsafe import Markup

from actckpt import ACCELERATORS, Accelerator, flash_attention
from actckpt.figures.flash import attention_bounds, attention_traffic
from actckpt.formulas import traffic
from actckpt.formulas.traffic import Kernel
from actckpt.hardware import GB, REGISTER_BYTES
from actckpt.llama import eager_attention
from actckpt.ops.attention import reference
from book.components.figure import figure
from book.components.pictures import round_trips
from book.components.table import table
from book.components.template import code, data, mark
from book.quantities.costs import backward_share
from book.quantities.flash import (
    DEVICE,
    FLASH,
    HEAD,
    LOADS,
    SEQ_LEN,
    STANDARD,
    TILES,
    attention_bytes,
    traffic_growth,
)
from book.quantities.sources import PUBLISHED
from book.quantities.steps import CONFIG, LABEL, MODEL, step
from book.quantities.text import fixed, gib, percent, size, times, tokens


def memories() -> Markup:
    """The table of an A100's memories: what they are, how large, how fast, and who decides what is there."""
    rows = (
        ("registers", size(DEVICE.n_sms * REGISTER_BYTES), "–", "–", "the compiler"),
        (
            "L1 cache and shared memory, “SRAM”",
            f"{DEVICE.n_sms} × {size(DEVICE.sram_bytes)} = {size(DEVICE.total_sram_bytes)}",
            PUBLISHED["sram_bandwidth"].words,
            f"{PUBLISHED['shared_latency'].words} (shared), {PUBLISHED['l1_latency'].words} (L1)",
            "the kernel's author decides about shared memory; the rest is a cache",
        ),
        ("L2 cache", size(DEVICE.l2_bytes or 0), "–", PUBLISHED["l2_latency"].words, "the hardware"),
        (
            "HBM",
            f"{DEVICE.datasheet_bytes / GB:,.0f} GB",
            _tb_s(DEVICE.bandwidth),
            PUBLISHED["hbm_latency"].words,
            "you: all tensors are here, weights, activations and optimizer states",
        ),
    )
    head = ("memory", "size", "bandwidth", "latency", "who decides what is there")
    return table(f"The memories of an {DEVICE.label}", head, rows, kind="words")


def accelerators() -> Markup:
    """The table of the accelerators: memory on the chip and beside it, and how many FLOPs a byte has to feed."""
    head = ("", "SMs × SRAM", "for a thread block", "HBM", "matmuls, bf16", "FLOPs a byte")
    rows = [
        (
            device.label,
            f"{device.n_sms} × {size(device.sram_bytes)}",
            size(device.shared_bytes),
            _tb_s(device.bandwidth),
            f"{device.bf16_flops / 1e12:,.0f} TFLOP/s",
            fixed(device.balance),
        )
        for device in ACCELERATORS.values()
    ]
    return table("On the chip and beside it, card by card", head, rows)


def saved() -> Markup:
    """What the attention of one block saves, eager and flash, tensor by tensor, as a table."""
    worlds = [
        {term.name: term.bytes for term in step(seq_len=SEQ_LEN, attention=each).block if term.component == "attention"}
        for each in ("eager", "flash")
    ]
    names = dict.fromkeys(name for world in worlds for name in world)
    return table(
        f"Attention in one block of {LABEL}, S = {SEQ_LEN:,}, in MiB",
        ("tensor", "eager", "flash"),
        [(code(name), *(_exact(world.get(name, 0), 2**20, 1) for world in worlds)) for name in names],
        ("sum", *(_exact(attention_bytes(each), 2**20, 1) for each in ("eager", "flash"))),
    )


def standard_and_flash() -> Markup:
    """Standard and flash attention side by side: the picture, and what each kernel of the forward pass moves."""
    columns = {"Standard": STANDARD, "Flash, each tensor once": FLASH, "Flash, every load": LOADS}
    tables = Markup("").join(_moves(name, kernels.forward) for name, kernels in columns.items())
    return round_trips.picture(Markup('<div class="ac-beside">{}</div>').format(tables))


def _moves(name: str, kernels: list[Kernel]) -> Markup:
    rows = [
        (Markup(f"{way} ") + Markup(", ").join(map(code, tensors)), _gb(sum(tensors.values())))
        for kernel in kernels
        for way, tensors in (("read", kernel.reads), ("write", kernel.writes))
    ]
    return table(name, ("", "GB"), rows, ("moved", _gb(traffic.moved_bytes(kernels))))


def traffic_chart() -> Markup:
    """The chart of what one head moves, over the sequence length."""
    return figure(
        attention_traffic,
        HEAD,
        DEVICE.name,
        name="traffic",
        caption="What one head moves between HBM and the chip in its forward pass. Dotted is the least that can move.",
        assumes=f"Head dimension {HEAD}, bfloat16, nothing masked; tiles of "
        f"{largest_tile()} rows, which fill the shared memory of one SM of an "
        f"{DEVICE.label}; GB of 10⁹ bytes.",
        test="test_flash_page::test_attention_traffic",
    )


def largest_tile() -> int:
    """The rows of the largest tile that fits into shared memory."""
    return traffic.largest_tile(DEVICE.shared_bytes, HEAD)


def exponents() -> Markup:
    """By what the traffic grows when one of its quantities doubles, as a table."""
    doubled = {
        "the sequence length S": "seq_len",
        "the head dimension d": "head_dim",
        "the on-chip memory M": "sram",
    }
    head = ("twice", "standard", "flash", "if it were S²/M")
    rows = [(what, *(times(factor, 2) for factor in traffic_growth(change))) for what, change in doubled.items()]
    return table("What the forward pass moves, when one quantity doubles", head, rows)


def comparison() -> Markup:
    """Standard against flash attention, aspect by aspect, as a table."""
    moved = [_gb(traffic.moved_bytes(kernels.both)) for kernels in (STANDARD, FLASH)]
    bounds = [f"{1000 * traffic.bound_s(kernels.both, DEVICE):.1f} ms" for kernels in (STANDARD, FLASH)]
    ratio = [times(backward_share(attention)) for attention in ("eager", "flash")]
    run = times(traffic.run_flops(FLASH.backward) / traffic.run_flops(FLASH.forward))
    published = [PUBLISHED[f"flash_{name}_time"] for name in ("standard", "flash")]
    rows = (
        ("Memory grows with", "S² for each head", "S"),
        ("Kept for the backward pass", *(size(attention_bytes(attention)) for attention in ("eager", "flash"))),
        (
            "What that is",
            "q, k, v, the output, and two S × S matrices for each head: the softmax in float32 and the probabilities "
            "in bfloat16",
            "q, k, v, the output, and one number for each query: m + log l, in float32",
        ),
        (
            "The backward pass",
            f"reads them; {ratio[0]} the forward pass’s FLOPs",
            f"computes the scores again, tile by tile; {ratio[1]} the forward pass’s FLOPs, and {run} as the package’s "
            "two kernels run them",
        ),
        ("HBM traffic, order", "Θ(Sd + S²)", "Θ(S²d²/M)"),
        ("HBM traffic, forward and backward", moved[0] + " GB", moved[1] + " GB, if each tensor moves once"),
        (f"Time on an {DEVICE.label}, at best", *bounds),
        (
            f"Time, as the authors measured it for GPT-2 medium at {PUBLISHED['flash_seq_len'].words}",
            *(Markup(f"{one.words} ({one.source.link}, {one.place})") for one in published),
        ),
        (
            "Checkpointing",
            Markup("<code>torch.<wbr>utils.<wbr>checkpoint.<wbr>checkpoint</code> around it"),
            "built in: the kernel recomputes by itself",
        ),
    )
    caption = f"Standard and flash attention: one block of {LABEL}, S = {SEQ_LEN:,}"
    return table(caption, ("", "standard", "flash"), rows, kind="words")


def bounds_chart() -> Markup:
    """The chart of what bounds standard and flash attention."""
    traces = attention_bounds(MODEL, SEQ_LEN, DEVICE.name, TILES).data
    return figure(
        attention_bounds,
        MODEL,
        SEQ_LEN,
        DEVICE.name,
        TILES,
        name="bounds",
        caption=f"The attention of one block of {LABEL}: how long its matmuls take, and how long its bytes take to HBM "
        "and back. The longer of the two is what a pass takes at the least.",
        assumes=f"S = {SEQ_LEN:,}, bfloat16, nothing masked; bytes and matmul FLOPs from the tensors' shapes and the "
        "package's tiles, rates from the datasheet.",
        test="test_flash_page::test_attention_bounds",
        numbers=table(
            "Time at full speed, in ms",
            ("pass", *(trace.name for trace in traces)),
            [(name, *(fixed(trace.x[index], 2) for trace in traces)) for index, name in enumerate(traces[0].y)],
        ),
    )


def bounds_by_device() -> Markup:
    """The least time of forward and backward pass on each accelerator, standard and flash, as a table."""
    head = ("", "FLOPs a byte", "standard, at best", "flash, at best", "times faster")
    caption = f"Forward and backward pass of one block's attention, S = {SEQ_LEN:,}, each tensor moved once"
    return table(caption, head, map(_bounds, ACCELERATORS.values()))


def _bounds(device: Accelerator) -> tuple[str, ...]:
    slow, fast = (traffic.bound_s(kernels.both, device) for kernels in (STANDARD, FLASH))
    return device.label, fixed(device.balance), f"{1000 * slow:.2f} ms", f"{1000 * fast:.2f} ms", times(slow / fast)


def composition() -> Markup:
    """What all blocks keep at long contexts under a few policies, and what each policy recomputes, as a table."""
    lengths = (32 * 1024, 128 * 1024)
    rows = []
    for attention, policy in (
        ("eager", "none"),
        *(("flash", policy) for policy in ("none", "core_attention", "ffn", "save_attention", "full")),
    ):
        steps = [step(policy, seq_len=length, attention=attention) for length in lengths]
        cells = [cell for each in steps for cell in (gib(each.total_bytes), _more(each.flops.overhead))]
        rows.append((Markup(f"{attention} attention, ") + code(policy), *cells))
    head = ("", *(f"{word}, {tokens(length)}" for length in lengths for word in ("kept", "recomputed")))
    return table(f"All blocks of {LABEL}, batch size 1", head, rows)


def _more(share: float) -> str:
    return f"+{percent(share)}" if share else "nothing"


def _tb_s(bandwidth: float) -> str:
    return f"{bandwidth / 1e12:.4g} TB/s"


def _gb(n_bytes: int) -> Markup:
    return _exact(n_bytes, GB, 3)


def _exact(n_bytes: int, unit: int, digits: int) -> Markup:
    return data(n_bytes, fixed(n_bytes / unit, digits))


def algorithm() -> str:
    """The forward pass of the reference, as it stands in the package."""
    return _code(inspect.getsource(reference.attend))


def gradients() -> str:
    """The backward pass of the reference, as it stands in the package."""
    return _code(inspect.getsource(reference.differentiate))


def inner_loop() -> str:
    """The inner loop of the forward kernel, as it stands in the package."""
    source = Path(reference.__file__).with_name("kernels.py").read_text(encoding="utf-8")
    start = source.index("    for start_n in range(", source.index("def forward_kernel("))
    return _code(textwrap.dedent(source[start : source.index("\n\n", start)]))


def _code(source: str) -> str:
    return f"``` {{ .python }}\n{source.rstrip()}\n```"


def accuracy() -> str:
    """How far the op and plain attention are from float64, on the same bfloat16 numbers, as a sentence."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, heads, 300, CONFIG.head_dim, generator=generator).bfloat16() for heads in (8, 2, 2))
    exact = flash_attention(q.double(), k.double(), v.double(), causal=True)
    flash, eager = (
        float((output.double() - exact).abs().max())
        for output in (flash_attention(q, k, v, causal=True), eager_attention(q, k, v))
    )
    return (
        f"On {mark(str(q.shape[2]))} random tokens in bfloat16, the op differs from float64 by at most "
        f"{mark(f'{flash:.4f}')}. In the same precision, attention that stores its scores differs by "
        f"{mark(f'{eager:.4f}')}."
    )
