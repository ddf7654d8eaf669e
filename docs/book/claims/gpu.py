"""Claims on the GPU's memories, and on what attention moves between them."""

from __future__ import annotations

from actckpt import ACCELERATORS, estimate
from actckpt.formulas import traffic
from actckpt.formulas.traffic import Shape
from book.claims.claim import Claim, Finding, Stated, cite, judge, n, near
from book.claims.quantities import (
    CONFIG,
    FLASH_1,
    LONG,
    MODEL,
)
from book.quantities.sources import PUBLISHED, SOURCES

A100, SMALL = ACCELERATORS["a100-80gb"], ACCELERATORS["a100-40gb"]
SMS, PER_SM, SRAM = Stated(108), Stated(192, "KB"), Stated(20, "MB")
SMALLEST, LARGEST, BANDWIDTH = Stated(40, "GB"), Stated(80, "GB"), Stated(2, "TB/s")
FASTER, SMALLER = Stated(10, "×"), Stated(4000, "×")
MATRIX, LENGTH, HEADS = Stated(1, "GB"), Stated(4096), Stated(32)
CYCLES = (Stated(28), Stated(200), Stated(400))
DATASHEETS = "datasheets, in <code>actckpt.hardware</code>"
MATRICES = ("scores", "probabilities")


def sram() -> Finding:
    """The on-chip memory of an A100."""
    total, usable = (A100.n_sms * size for size in (A100.sram_bytes, A100.shared_bytes))
    per_sm = A100.sram_bytes / 2**10
    return judge(
        f"{n(A100.n_sms)} × {n(per_sm, 0, 'KiB')} = {n(total / 2**20, 1, 'MiB')}. It is L1 cache and shared memory "
        f"together; a thread block can take {n(A100.shared_bytes / 2**10, 0, 'KiB')}, so "
        f"{n(usable / 2**20, 1, 'MiB')} at most.",
        holds=near(total / 2**20, SRAM.value) and near(usable / 2**20, SRAM.value),
        when=near(total / 2**20, SRAM.value) and A100.n_sms == SMS.value and per_sm == PER_SM.value,
        condition="the L1 cache is counted in, which a kernel does not have to itself.",
    )


def hbm() -> Finding:
    """The memory of the two A100."""
    rates = [card.bandwidth / 1e12 for card in (SMALL, A100)]
    return judge(
        f"The two cards of the A100 have {n(SMALL.datasheet_bytes / 1e9, 0, 'GB')} at {n(rates[0], 2, 'TB/s')} and "
        f"{n(A100.datasheet_bytes / 1e9, 0, 'GB')} at {n(rates[1], 2, 'TB/s')}.",
        holds=all(near(rate, BANDWIDTH.value) for rate in rates),
        when=near(rates[1], BANDWIDTH.value) and A100.datasheet_bytes == LARGEST.value * 1e9,
        condition="the card is the larger one.",
    )


def ten_times_faster() -> Finding:
    """The bandwidth of the on-chip memory over that of the HBM."""
    ratio = PUBLISHED["sram_bandwidth"].value * 1e12 / A100.bandwidth
    return judge(
        f"{n(ratio, 1, '×')}: {n(PUBLISHED['sram_bandwidth'].words)}, an estimate that {FLASH_1} gives, over the "
        f"datasheet's {n(A100.bandwidth / 1e12, 2, 'TB/s')}.",
        holds=near(ratio, FASTER.value, 0.1),
    )


def smaller() -> Finding:
    """The size of the HBM over that of the on-chip memory."""
    ratio = A100.memory_bytes / (A100.n_sms * A100.sram_bytes)
    return judge(f"{n(ratio, 0, '×')} for the A100 with {LARGEST}.", holds=near(ratio, SMALLER.value, 0.1))


def matrix() -> Finding:
    """The probabilities of one block."""
    size = estimate(MODEL, seq_len=int(LENGTH.value), attention="eager").block["attention.probabilities"].bytes
    return judge(
        f"{n(size / 2**30, 2, 'GiB')}, or {n(size / 1e9, 2, 'GB')}: {n(size)} bytes. The real block keeps the "
        "float32 softmax beside it.",
        holds=size == MATRIX.value * 2**30 and CONFIG.n_heads == HEADS.value,
    )


def round_trips() -> Finding:
    """How often the matrix is written and read."""
    kernels = traffic.standard_forward(Shape.of(CONFIG, int(LENGTH.value)))
    moved = sum(
        size for kernel in kernels for name, size in (*kernel.reads.items(), *kernel.writes.items()) if name in MATRICES
    )
    times = moved / Shape.of(CONFIG, int(LENGTH.value)).matrix_bytes
    return judge(
        f"{n(len(kernels))} kernels, which write or read a matrix of S × S {n(times)} times: scores and "
        "probabilities, each once out and once in.",
        holds=len(kernels) == 3,
    )


def hbm_traffic() -> Finding:
    """What the bound leaves out, and what it means for one head."""
    d = CONFIG.head_dim
    elements = A100.shared_bytes // 2
    shape = Shape(LONG, d)
    standard = traffic.moved_bytes(traffic.standard_forward(shape))
    flash = traffic.moved_bytes(traffic.flash_forward(shape))
    return judge(
        f"The theorem has d² in the numerator: S²d²/M. With a head of {n(d)} that is a factor of {n(d * d)} against "
        f"an M of {n(elements)} elements, not against 1. One head at {n('16K')} tokens moves "
        f"{n(standard / 1e6, 0, 'MB')} the standard way, and {n(flash / 1e6, 0, 'MB')} at the least with flash "
        "attention.",
        holds=d * d == 1,
        when=flash < standard and d * d < elements,
        condition="the head's width is taken for a constant, and its square is smaller than the on-chip memory.",
    )


CLAIMS = (
    Claim(
        "sram",
        "W19",
        f"An A100 has {SMS} SMs with {PER_SM} of SRAM each, some {SRAM} in all.",
        "workshop/flash-attention/#gpu-memory",
        sram,
        DATASHEETS,
        "test_claims::test_hardware_is_what_the_datasheets_say",
    ),
    Claim(
        "hbm",
        "W19",
        f"Its HBM holds {SMALLEST} to {LARGEST}, at about {BANDWIDTH}.",
        "workshop/flash-attention/#gpu-memory",
        hbm,
        DATASHEETS,
        "test_claims::test_hardware_is_what_the_datasheets_say",
    ),
    Claim(
        "sram-faster",
        "W19",
        f"SRAM is about {FASTER} faster.",
        "workshop/flash-attention/#gpu-memory",
        ten_times_faster,
        f"{FLASH_1}, §2.1",
        "test_claims::test_hardware_is_what_the_datasheets_say",
    ),
    Claim(
        "sram-smaller",
        "W19",
        f"It is about {SMALLER} smaller.",
        "workshop/flash-attention/#gpu-memory",
        smaller,
        DATASHEETS,
        "test_claims::test_hardware_is_what_the_datasheets_say",
    ),
    Claim(
        "latency",
        "W19",
        f"SRAM answers within some {CYCLES[0]} cycles, HBM within {CYCLES[1]} to {CYCLES[2]}.",
        "workshop/flash-attention/#gpu-memory",
        cite(
            f"On an A100, {SOURCES['ampere'].link} measured {n(PUBLISHED['shared_latency'].words)} for shared memory "
            f"and {n(PUBLISHED['hbm_latency'].words)} for global memory. This package measures no latency."
        ),
        f"{SOURCES['ampere'].link}, table IV",
        "test_claims::test_what_is_cited_says_so",
    ),
    Claim(
        "matrix",
        "W20",
        f"With {LENGTH} tokens and {HEADS} heads, the S × S matrix takes {MATRIX} a layer in bfloat16.",
        "workshop/flash-attention/#the-s-by-s-matrix",
        matrix,
        f"{FLASH_1}, §2.2",
        "test_formulas::test_eager_attention_adds_6_nssb_bytes_and_no_log_sum_exp",
    ),
    Claim(
        "round-trips",
        "W21",
        "Standard attention goes to HBM and back three times.",
        "workshop/flash-attention/#standard-and-flash",
        round_trips,
        f"{FLASH_1}, algorithm 0",
        "test_flash_page::test_standard_attention_moves_what_its_ops_read_and_write",
    ),
    Claim(
        "hbm-traffic",
        "W21",
        "Standard attention moves O(S²), flash attention O(S²/M).",
        "workshop/flash-attention/#standard-and-flash",
        hbm_traffic,
        f"{FLASH_1}, theorem 2",
        "test_flash_page::test_traffic_grows_as_theorem_2_says",
    ),
)
