"""The GPU's memories, and what attention moves between them."""

from __future__ import annotations

from functools import partial

from actckpt import ACCELERATORS
from actckpt.formulas import traffic
from actckpt.formulas.traffic import Shape
from actckpt.hardware import GB
from book.claims import names
from book.claims.claim import Finding, Stated, cited, claim, judge, n, near
from book.claims.names import AMPERE_LINK, AT_LONG, DATASHEETS, EAGER, FLASH_1
from book.quantities.flash import DEVICE, bandwidth_ratio
from book.quantities.sources import PUBLISHED
from book.quantities.steps import CONFIG, LONG, step

SMALL = ACCELERATORS["a100-40gb"]
SMS, PER_SM, SRAM = Stated(108), Stated(192, "KB"), Stated(20, "MB")
SMALLEST, LARGEST, BANDWIDTH = Stated(40, "GB"), Stated(80, "GB"), Stated(2, "TB/s")
FASTER, SMALLER = Stated(10, "×"), Stated(4000, "×")
MATRIX, LENGTH, HEADS = Stated(1, "GB"), Stated(4096), Stated(32)
CYCLES = (Stated(28), Stated(200), Stated(400))

memory = partial(
    claim,
    element="W19",
    taught="workshop/flash-attention/#gpu-memory",
    source=DATASHEETS,
    tests=(names.HARDWARE,),
)

kernels = partial(claim, element="W21", taught="workshop/flash-attention/#standard-and-flash")


@memory(says=f"An A100 has {SMS} SMs with {PER_SM} of SRAM each, about {SRAM} in all.")
def sram() -> Finding:
    per_sm, shared = DEVICE.sram_bytes / 2**10, DEVICE.shared_bytes / 2**10
    total, usable = (DEVICE.n_sms * kib / 2**10 for kib in (per_sm, shared))
    return judge(
        f"{n(DEVICE.n_sms)} × {n(per_sm, 0, 'KiB')} = {n(total, 2, 'MiB')}. This is L1 cache and shared memory "
        f"together. A thread block can take {n(shared, 0, 'KiB')} of it, which is {n(usable, 1, 'MiB')} for all SMs.",
        holds=near(total, SRAM) and near(usable, SRAM),
        when=near(total, SRAM) and DEVICE.n_sms == SMS.value and per_sm == PER_SM.value,
        condition="the L1 cache counts too. A kernel cannot use that part freely.",
    )


@memory(says=f"Its HBM holds {SMALLEST} to {LARGEST}, at about {BANDWIDTH}.")
def hbm() -> Finding:
    sizes, rates = zip(*((card.datasheet_bytes / GB, card.bandwidth / 1e12) for card in (SMALL, DEVICE)), strict=True)
    return judge(
        f"The two cards of the A100 have {n(sizes[0], 0, 'GB')} at {n(rates[0], 3, 'TB/s')} and "
        f"{n(sizes[1], 0, 'GB')} at {n(rates[1], 3, 'TB/s')}.",
        holds=all(near(rate, BANDWIDTH) for rate in rates),
        when=near(rates[1], BANDWIDTH) and sizes[1] == LARGEST.value,
        condition="the card is the larger one.",
    )


@memory(says=f"SRAM is about {FASTER} faster.", source=f"{FLASH_1}, §2.1", tests=(names.HARDWARE, names.PUBLISHED))
def sram_faster() -> Finding:
    ratio = bandwidth_ratio()
    return judge(
        f"It is {n(ratio, 1, '×')} as fast: {n(PUBLISHED['sram_bandwidth'].words)}, as {FLASH_1} estimates, divided by "
        f"the {n(DEVICE.bandwidth / 1e12, 3, 'TB/s')} of the datasheet.",
        holds=near(ratio, FASTER, 0.1),
    )


@memory(says=f"It is about {SMALLER} smaller.")
def sram_smaller() -> Finding:
    ratio = DEVICE.memory_bytes / DEVICE.total_sram_bytes
    return judge(f"{n(ratio, 0, '×')} for the A100 with {LARGEST}.", holds=near(ratio, SMALLER, 0.1))


@memory(
    says=f"SRAM answers within about {CYCLES[0]} cycles, HBM within {CYCLES[1]} to {CYCLES[2]}.",
    source=f"{AMPERE_LINK}, table IV",
    tests=(names.PUBLISHED,),
)
def latency() -> Finding:
    return cited(
        f"On an A100, {AMPERE_LINK} measured {n(PUBLISHED['shared_latency'].words)} for shared memory and "
        f"{n(PUBLISHED['hbm_latency'].words)} for global memory. This package measures no latency."
    )


@claim(
    element="W20",
    says=f"With {LENGTH} tokens and {HEADS} heads, the S × S matrix takes {MATRIX} a layer in bfloat16.",
    taught="workshop/flash-attention/#the-s-by-s-matrix",
    source=f"{FLASH_1}, §2.2",
    tests=(names.EAGERS_SQUARE,),
)
def matrix() -> Finding:
    size = step(seq_len=int(LENGTH.value), **EAGER).block["attention.probabilities"].bytes
    return judge(
        f"{n(size / 2**30, 2, 'GiB')}, or {n(size / GB, 2, 'GB')}: {n(size)} bytes. The real block keeps the "
        "float32 softmax beside it.",
        holds=size == MATRIX.value * 2**30 and CONFIG.n_heads == HEADS.value,
    )


@kernels(
    says="Standard attention goes to HBM and back three times.",
    source=f"{FLASH_1}, algorithm 0",
    tests=(names.TRAFFIC,),
)
def round_trips() -> Finding:
    shape = Shape.of(CONFIG, int(LENGTH.value))
    kernels = traffic.standard_forward(shape)
    tensors = [tensor for kernel in kernels for tensor in (*kernel.reads.items(), *kernel.writes.items())]
    times = sum(size for name, size in tensors if name in ("scores", "probabilities")) / shape.matrix_bytes
    return judge(
        f"It has {n(len(kernels))} kernels. They write or read an S × S matrix {n(times)} times: the scores and the "
        "probabilities are each written once and read once.",
        holds=len(kernels) == 3,
    )


@kernels(
    says="Standard attention moves O(S²), flash attention O(S²/M).",
    source=f"{FLASH_1}, theorem 2",
    tests=("test_flash_page::test_traffic_grows_as_theorem_2_says", names.TRAFFIC, names.HARDWARE),
)
def hbm_traffic() -> Finding:
    d, elements = CONFIG.head_dim, DEVICE.shared_bytes // 2
    shape = Shape(LONG, d)
    standard, flash = map(traffic.moved_bytes, (traffic.standard_forward(shape), traffic.flash_forward(shape)))
    return judge(
        f"The theorem has d² in the numerator: S²d²/M. With a head of {n(d)} that is a factor of {n(d * d)} against "
        f"an M of {n(elements)} elements, not against 1. One head at {AT_LONG} tokens moves "
        f"{n(standard / 1e6, 0, 'MB')} the standard way, and {n(flash / 1e6, 0, 'MB')} at the least with flash "
        "attention.",
        holds=d * d == 1,
        when=flash < standard and d * d < elements,
        condition="the head's width is treated as a constant, and its square is smaller than the on-chip memory.",
    )
