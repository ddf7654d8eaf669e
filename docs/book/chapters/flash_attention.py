"""The tables and charts of "Flash attention"; `flash_numbers` has its sentences' numbers, `flash_code` its code."""

from __future__ import annotations

from actckpt import ACCELERATORS, Accelerator, estimate
from actckpt.figures.flash import attention_bounds, attention_traffic
from actckpt.formulas import traffic
from actckpt.formulas.traffic import Kernel
from actckpt.hardware import GB, REGISTER_BYTES
from book.components import figure
from book.quantities import published, text
from book.quantities.flash_numbers import (
    ACCELERATOR,
    DEVICE,
    HEAD,
    MODEL,
    SEQ_LEN,
    SHAPE,
    TILES,
    backward_share,
    growth,
    size,
    table,
)

LABEL = text.model_label(MODEL)
BOUNDS = (
    f"One block's attention of {LABEL}, S = {SEQ_LEN:,}, bfloat16, nothing masked; bytes and matmul FLOPs from the "
    f"tensors' shapes and the package's tiles, rates from the datasheet."
)


def memories() -> str:
    """The table of an A100's memories: what they are, how large, how fast, and who decides what lies there."""
    cited = published.PUBLISHED

    def latency(name: str) -> str:
        return cited[name].words

    rows = (
        ("registers", size(DEVICE.n_sms * REGISTER_BYTES), "–", "–", "the compiler"),
        (
            "L1 cache and shared memory, “SRAM”",
            f"{DEVICE.n_sms} × {size(DEVICE.sram_bytes)} = {size(DEVICE.total_sram_bytes)}",
            f"{cited['sram_bandwidth'].words}",
            f"{latency('shared_latency')} (shared), {latency('l1_latency')} (L1)",
            "the kernel's author: shared memory; the rest is a cache",
        ),
        ("L2 cache", size(DEVICE.l2_bytes or 0), "–", latency("l2_latency"), "the hardware"),
        (
            "HBM",
            f"{DEVICE.memory_bytes / GB:,.0f} GB",
            _tb_s(DEVICE.bandwidth),
            latency("hbm_latency"),
            "you: every tensor lies here, weights, activations and optimizer states alike",
        ),
    )
    head = ("memory", "size", "bandwidth", "latency", "who decides what lies there")
    body = "".join(_row(name, *cells) for name, *cells in rows)
    return table(f"The memories of an {DEVICE.label}", head, body, words=True)


def accelerators() -> str:
    """The table of the accelerators: memory on the chip and beside it, and how many FLOPs a byte has to feed."""
    rows = "".join(
        _row(
            device.label,
            f"{device.n_sms} × {size(device.sram_bytes)}",
            size(device.shared_bytes),
            _tb_s(device.bandwidth),
            f"{device.bf16_flops / 1e12:,.0f} TFLOP/s",
            text.fixed(device.balance, 0),
        )
        for device in ACCELERATORS.values()
    )
    head = ("", "SMs × SRAM", "for a thread block", "HBM", "matmuls, bf16", "FLOPs a byte")
    return table("On the chip and beside it, card by card", head, rows)


def saved() -> str:
    """What the attention of one block saves, eager and flash, tensor by tensor, as a table."""
    eager, flash = (
        {term.name: term.bytes for term in block if term.component == "attention"}
        for block in (estimate(MODEL, seq_len=SEQ_LEN, attention=attention).block for attention in ("eager", "flash"))
    )
    rows = "".join(
        _row(f"<code>{name}</code>", _mib(eager.get(name, 0)), _mib(flash.get(name, 0)))
        for name in dict.fromkeys([*eager, *flash])
    )
    return text.table(
        f"Attention in one block of {LABEL}, S = {SEQ_LEN:,}, in MiB",
        ("tensor", "eager", "flash"),
        rows,
        _row("sum", _mib(sum(eager.values())), _mib(sum(flash.values()))),
    )


def round_trips() -> str:
    """Standard and flash attention side by side: what each kernel of the forward pass moves."""
    columns = (
        ("Standard", traffic.standard_forward(SHAPE)),
        ("Flash, each tensor once", traffic.flash_forward(SHAPE)),
        ("Flash, every load", traffic.flash_forward(SHAPE, TILES)),
    )
    return '<div class="ac-beside">' + "".join(_moves(name, kernels) for name, kernels in columns) + "</div>"


def _moves(name: str, kernels: list[Kernel]) -> str:
    rows = "".join(
        _row(f"{way} {', '.join(_code_word(tensor) for tensor in tensors)}", _gb(sum(tensors.values())))
        for kernel in kernels
        for way, tensors in (("read", kernel.reads), ("write", kernel.writes))
    )
    return table(name, ("", "GB"), rows, _row("moved", _gb(traffic.moved_bytes(kernels))))


def traffic_chart() -> str:
    """The chart of what one head moves, over the sequence length."""
    return figure.figure(
        attention_traffic(HEAD, ACCELERATOR),
        name="traffic",
        made_by=f'actckpt.figures.flash.attention_traffic({HEAD}, "{ACCELERATOR}")',
        assumes=f"Forward pass of one head, head dimension {HEAD}, bfloat16, nothing masked; tiles of "
        f"{traffic.largest_tile(DEVICE.shared_bytes, HEAD)} rows, which fill the shared memory of one SM of an "
        f"{DEVICE.label}; dotted is the least that can be moved; GB of 10⁹ bytes.",
        test="test_flash_page::test_attention_traffic",
    )


def exponents() -> str:
    """By what the traffic grows when one of its quantities doubles, as a table."""
    rows = "".join(
        _row(what, *(f"{text.fixed(factor, 2)}\u00a0×" for factor in growth(change))) for what, change in _DOUBLED
    )
    head = ("twice", "standard", "flash", "if it were S²/M")
    return table("What the forward pass moves, when one quantity doubles", head, rows)


_DOUBLED = (
    ("the sequence length S", "seq_len"),
    ("the head dimension d", "head_dim"),
    ("the on-chip memory M", "sram"),
)


def comparison() -> str:
    """Standard against flash attention, aspect by aspect, as a table."""
    eager, flash = (estimate(MODEL, seq_len=SEQ_LEN, attention=attention) for attention in ("eager", "flash"))
    kept = [size(step.block.component_bytes("attention")) for step in (eager, flash)]
    forward = [traffic.standard_forward(SHAPE), traffic.flash_forward(SHAPE)]
    backward = [traffic.standard_backward(SHAPE), traffic.flash_backward(SHAPE)]
    moved = [traffic.moved_bytes(a) + traffic.moved_bytes(b) for a, b in zip(forward, backward, strict=True)]
    bounds = [1000 * traffic.bound_s(a + b, DEVICE) for a, b in zip(forward, backward, strict=True)]
    ratio = [text.fixed(backward_share(attention), 1) for attention in ("eager", "flash")]
    time = [published.PUBLISHED[f"flash_{name}_time"] for name in ("standard", "flash")]
    rows = (
        ("Memory grows with", "S² for each head", "S"),
        ("Kept for the backward pass", *kept),
        ("What that is", "q, k, v, and the probabilities: all S × S of them", f"q, k, v, the output, {_ONE_NUMBER}"),
        (
            "The backward pass",
            f"reads the probabilities; {ratio[0]}\u00a0× the forward pass's FLOPs",
            f"computes them again, tile by tile; {ratio[1]}\u00a0× the forward pass's FLOPs",
        ),
        ("HBM traffic, order", "Θ(Sd + S²)", "Θ(S²d²/M)"),
        ("HBM traffic, forward and backward", _gb(moved[0]) + " GB", f"{_gb(moved[1])} GB, if each tensor moves once"),
        (f"Time on an {DEVICE.label}, at best", *(f"{bound:.1f} ms" for bound in bounds)),
        ("Time, as the authors measured it", *(f"{one.words} ({one.source.link}, {one.place})" for one in time)),
        (
            "Checkpointing",
            "<code>torch.<wbr>utils.<wbr>checkpoint.<wbr>checkpoint</code> around it",
            "built in: the kernel recomputes by itself",
        ),
    )
    head = ("", "standard", "flash")
    body = "".join(_row(name, *cells) for name, *cells in rows)
    return table(f"Standard and flash attention: one block of {LABEL}, S = {SEQ_LEN:,}", head, body, words=True)


_ONE_NUMBER = "and one number for each query: m + log l, in float32"


def bounds_chart() -> str:
    """The chart of what bounds standard and flash attention."""
    chart = attention_bounds(MODEL, SEQ_LEN, ACCELERATOR, TILES)
    return figure.figure(
        chart,
        name="bounds",
        made_by=f'actckpt.figures.flash.attention_bounds("{MODEL}", {SEQ_LEN}, "{ACCELERATOR}", tiles)',
        assumes=BOUNDS,
        test="test_flash_page::test_attention_bounds",
        numbers=table(
            "Time at full speed, in ms",
            ("pass", *(trace.name for trace in chart.data)),
            "".join(
                _row(name, *(text.fixed(trace.x[index], 2) for trace in chart.data))
                for index, name in enumerate(chart.data[0].y)
            ),
        ),
    )


def measured() -> str:
    """What the authors of FlashAttention measured, as a paragraph."""

    def both(what: str) -> str:
        flash, standard = (published.PUBLISHED[f"flash_{name}_{what}"] for name in ("flash", "standard"))
        return f"{text.mark(flash.words)} instead of {text.mark(standard.words)}"

    source = published.PUBLISHED["flash_flash_time"]
    return (
        "<p>These are bounds, not measurements: no kernel reaches the full rate, and the exponentials, which run on "
        "the ordinary cores, are not in them. The authors measured the attention of GPT-2 medium on an A100: "
        f"{both('flops')}, {both('hbm')} moved, and {both('time')} ({source.source.link}, {source.place}).</p>"
    )


def bounds_by_device() -> str:
    """The least time of forward and backward pass on each accelerator, standard and flash, as a table."""
    rows = "".join(_row(device.label, *_bounds(device)) for device in ACCELERATORS.values())
    head = ("", "FLOPs a byte", "standard, at best", "flash, at best", "times faster")
    return table(
        f"Forward and backward pass of one block's attention, S = {SEQ_LEN:,}, each tensor moved once", head, rows
    )


def _bounds(device: Accelerator) -> tuple[str, ...]:
    standard = [*traffic.standard_forward(SHAPE), *traffic.standard_backward(SHAPE)]
    flash = [*traffic.flash_forward(SHAPE), *traffic.flash_backward(SHAPE)]
    slow, fast = (traffic.bound_s(kernels, device) for kernels in (standard, flash))
    return (
        text.fixed(device.balance, 0),
        f"{1000 * slow:.2f} ms",
        f"{1000 * fast:.2f} ms",
        f"{text.fixed(slow / fast, 1)}\u00a0×",
    )


def composition() -> str:
    """What all blocks keep at long contexts under a few policies, and what each policy recomputes, as a table."""
    lengths = (32 * 1024, 128 * 1024)
    names = ("none", "core_attention", "ffn", "save_attention", "full")
    rows = _row("eager attention, <code>none</code>", *_kept_eager(lengths))
    for name in names:
        steps = [estimate(MODEL, seq_len=length, policy=name) for length in lengths]
        cells = [cell for step in steps for cell in (text.prose_gib(step.total_bytes), _overhead(step.flops.overhead))]
        rows += _row(f"flash attention, <code>{name}</code>", *cells)
    head = ("", *(f"{word}, {text.tokens(length)}" for length in lengths for word in ("kept", "recomputed")))
    return table(f"All blocks of {LABEL}, batch size 1", head, rows)


def _kept_eager(lengths: tuple[int, ...]) -> list[str]:
    steps = [estimate(MODEL, seq_len=length, attention="eager") for length in lengths]
    return [cell for step in steps for cell in (text.prose_gib(step.total_bytes), _overhead(0))]


def _overhead(share: float) -> str:
    return f"+{text.percent(share)}" if share else "nothing"


def _tb_s(bandwidth: float) -> str:
    return f"{bandwidth / 1e12:.2f} TB/s"


def _row(head: str, *cells: str) -> str:
    return f'<tr><th scope="row">{head}</th>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _code_word(name: str) -> str:
    return f"<code>{name}</code>"


def _mib(n_bytes: int) -> str:
    return f'<data value="{n_bytes}" title="{n_bytes:,} bytes">{text.fixed(n_bytes / 2**20, 1)}</data>'


def _gb(n_bytes: int) -> str:
    return f'<data value="{n_bytes}" title="{n_bytes:,} bytes">{text.fixed(n_bytes / GB, 3)}</data>'
