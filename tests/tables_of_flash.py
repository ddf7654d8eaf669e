"""The tables of the chapter on flash attention, worked out by hand; `test_tables_on_pages` finds them."""

from __future__ import annotations

from asked import FAR, C, H
from built_pages import Cells, by, fixed, gib, percent, size, times
from by_hand import all_bytes, overhead, tensors
from tables_of_memory import mib

# datasheets: TB/s, dense bfloat16 TFLOP/s, SMs, KiB of an SM and for a thread block
CARDS = {
    "A100 40 GB": (1.555, 312, 108, 192, 163),
    "A100 80 GB": (2.039, 312, 108, 192, 163),
    "H100 80 GB": (3.35, 989, 132, 256, 227),
    "H200 141 GB": (4.8, 989, 132, 256, 227),
    "B200 192 GB": (8, 2250, 148, 256, 227),
}
HEAD = H // C.n_heads
Q, KV = 2 * 4096 * H, 2 * 4096 * HEAD * C.n_kv_heads
MATRIX, ROW, MATMUL = 2 * C.n_heads * 4096**2, 4 * C.n_heads * 4096, 2 * 4096**2 * H
# what each kernel moves, each tensor once, and how many matmuls it has
STANDARD_FORWARD = ((Q + KV + MATRIX, 1), (2 * MATRIX, 0), (MATRIX + KV + Q, 1))
STANDARD_BACKWARD = (
    (MATRIX + Q + KV, 1),
    (Q + KV + MATRIX, 1),
    (3 * MATRIX, 0),
    (MATRIX + KV + Q, 1),
    (MATRIX + Q + KV, 1),
)
FLASH_FORWARD = ((2 * Q + 2 * KV + ROW, 2),)
FLASH_BACKWARD = (
    (2 * Q + 3 * ROW, 0),
    (4 * KV + 2 * Q + 2 * ROW, 4),
    (3 * Q + 2 * ROW + 2 * KV, 3),
)
STANDARD, FLASH = STANDARD_FORWARD + STANDARD_BACKWARD, FLASH_FORWARD + FLASH_BACKWARD


def at_best(kernels: tuple[tuple[int, int], ...], card: str) -> float:
    """Milliseconds: of each kernel the longer of moving and multiplying."""
    bandwidth, flops, *_ = CARDS[card]
    return 1000 * sum(max(moved / (bandwidth * 1e12), n * MATMUL / (flops * 1e12)) for moved, n in kernels)


def balance(card: str) -> str:
    return fixed(CARDS[card][1] / CARDS[card][0])


def accelerators() -> Cells:
    rows = {
        card: (f"{n_sms} × {sm} KiB", f"{block} KiB", f"{tb_s:g} TB/s", f"{tflops:,} TFLOP/s", balance(card))
        for card, (tb_s, tflops, n_sms, sm, block) in CARDS.items()
    }
    return by(("SMs × SRAM", "for a thread block", "HBM", "matmuls, bf16", "FLOPs a byte"), rows)


def memories() -> Cells:
    # 64K registers of 4 bytes an SM; 19 TB/s: Dao et al., §2.1; cycles: Luo et al., A100
    rows = {
        "registers": ("27 MiB", "–", "–"),
        "L1 cache and shared memory, “SRAM”": (
            "108 × 192 KiB = 20.25 MiB",
            "19 TB/s",
            "23 cycles (shared), 33 cycles (L1)",
        ),
        "L2 cache": ("40 MiB", "–", "200 cycles"),
        "HBM": ("80 GB", "2.039 TB/s", "290 cycles"),
    }
    return by(("size", "bandwidth", "latency"), rows)


def saved() -> Cells:
    sizes, rows = tensors(4096), {}
    common = ("v_proj", "rope.q", "rope.k", "attention.output")
    worlds = {"eager": (*common, "attention.softmax", "attention.probabilities"), "flash": (*common, "attention.lse")}
    for name in (*common[:3], "attention.softmax", "attention.probabilities", "attention.output", "attention.lse"):
        rows[name] = [fixed(sizes[name] / 2**20 if name in world else 0, 1) for world in worlds.values()]
    rows["sum"] = [mib(sum(sizes[name] for name in world)) for world in worlds.values()]
    return by(worlds, rows)


def moves(**rows: int) -> Cells:
    return by(("GB",), {name: (fixed(n / 1e9, 3),) for name, n in rows.items()})


def standard() -> Cells:
    rows = {
        "read q, k": Q + KV,
        "write scores": MATRIX,
        "read scores": MATRIX,
        "write probabilities": MATRIX,
        "read probabilities, v": MATRIX + KV,
        "write output": Q,
    }
    return moves(**rows, moved=sum(rows.values()))


def flash_once() -> Cells:
    rows = {"read q, k, v": Q + 2 * KV, "write output, lse": Q + ROW}
    return moves(**rows, moved=sum(rows.values()))


def flash_loads() -> Cells:
    # each tile of 128 queries of each head loads all keys and values
    rows = {"read q, k, v": Q + 4096 // 128 * C.n_heads * 2 * 2 * 4096 * HEAD, "write output, lse": Q + ROW}
    return moves(**rows, moved=sum(rows.values()))


def exponents() -> Cells:
    rows = {
        "the sequence length S": (4, 4, 4),
        "the head dimension d": (1, 4, 1),
        "the on-chip memory M": (1, 0.5, 0.5),
    }
    columns = ("standard", "flash", "if it were S²/M")
    return by(columns, {name: [times(factor, 2) for factor in factors] for name, factors in rows.items()})


def comparison() -> Cells:
    sizes = tensors(4096)
    once = 2 * sizes["v_proj"] + 2 * sizes["rope.q"]
    kept = [size(once + each) for each in (sizes["attention.softmax"] * 3 // 2, sizes["attention.lse"])]
    moved = [f"{fixed(sum(n for n, _ in kernels) / 1e9, 3)} GB" for kernels in (STANDARD, FLASH)]
    rows = {
        "Memory grows with": ("S² for each head", "S"),
        "Kept for the backward pass": kept,
        "The backward pass": (
            "reads them; 2.0 × the forward pass’s FLOPs",
            "computes the scores again, tile by tile; 2.5 × the forward pass’s FLOPs, and 3.5 × as the package’s two "
            "kernels run them",
        ),
        "HBM traffic, order": ("Θ(Sd + S²)", "Θ(S²d²/M)"),
        "HBM traffic, forward and backward": (moved[0], f"{moved[1]}, if each tensor moves once"),
        "Time on an A100 80 GB, at best": [f"{fixed(at_best(each, 'A100 80 GB'), 1)} ms" for each in (STANDARD, FLASH)],
        "Time, as the authors measured it for GPT-2 medium at 1,024 tokens": [
            f"{each} ms (Dao et al. 2022, arXiv 2205.14135, figure 2)" for each in (41.7, 7.3)
        ],
    }
    return by(("standard", "flash"), rows)


def bounds() -> Cells:
    tb_s, tflops, *_ = CARDS["A100 80 GB"]
    # every load: tiles of 128 queries, of 64 keys and of 64 queries stay, kernel by kernel
    forward_keys, queries, keys = (4096 // tile * 2 * Q for tile in (128, 64, 64))
    loads = {
        "standard, forward": sum(n for n, _ in STANDARD_FORWARD),
        "flash, forward": 2 * Q + ROW + forward_keys,
        "standard, backward": sum(n for n, _ in STANDARD_BACKWARD),
        "flash, backward": 5 * Q + 4 * KV + 5 * ROW + queries + 4096 // 64 * 2 * ROW + keys,
    }
    passes = (STANDARD_FORWARD, FLASH_FORWARD, STANDARD_BACKWARD, FLASH_BACKWARD)
    rows = {
        name: [
            fixed(1000 * sum(n for _, n in kernels) * MATMUL / (tflops * 1e12), 2),
            fixed(1000 * sum(n for n, _ in kernels) / (tb_s * 1e12), 2),
            fixed(1000 * loads[name] / (tb_s * 1e12), 2),
        ]
        for name, kernels in zip(loads, passes, strict=True)
    }
    return by(("matmuls at full rate", "moving each tensor once", "moving every load"), rows)


def bounds_by_device() -> Cells:
    rows = {}
    for card in CARDS:
        slow, fast = at_best(STANDARD, card), at_best(FLASH, card)
        rows[card] = (balance(card), f"{fixed(slow, 2)} ms", f"{fixed(fast, 2)} ms", times(slow / fast))
    return by(("FLOPs a byte", "standard, at best", "flash, at best", "times faster"), rows)


def composition() -> Cells:
    rows = {}
    policies = ("none", "core_attention", "ffn", "save_attention", "full")
    for attention, policy in (("eager", "none"), *(("flash", policy) for policy in policies)):
        rows[f"{attention} attention, {policy}"] = [
            cell
            for seq_len in (FAR // 4, FAR)
            for cell in (
                gib(all_bytes(policy, seq_len, attention=attention)),
                "nothing" if policy == "none" else f"+{percent(overhead(policy, seq_len))}",
            )
        ]
    return by(("kept, 32K", "recomputed, 32K", "kept, 128K", "recomputed, 128K"), rows)
