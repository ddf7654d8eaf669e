"""What the chapters on cost and on attention say, asked anew; `test_prose` says what a row is."""

from __future__ import annotations

import torch
from asked import (
    A100,
    EVERY_LENGTH,
    FAR,
    LAYERS,
    LONG,
    SIZES,
    C,
    H,
    M,
    advantage,
    cost,
    kept,
    memory,
    parity_share,
    saved,
    share,
    step,
)
from built_pages import fixed, gib, percent, size, times

from actckpt import FlopRules
from actckpt.formulas import traffic
from actckpt.llama import eager_attention
from actckpt.ops.attention import flash_attention
from actckpt.ops.attention.config import launches
from actckpt.tradeoff import parity_length


def compute_cost() -> dict[str, str]:
    def third(half: str, seq_len: int) -> str:
        return percent(cost(half, seq_len, accounting="workshop"))

    full = sorted(cost("full", seq_len) for seq_len in EVERY_LENGTH)
    once, twice = (step("none", seq_len).flops for seq_len in (1024, 2048))
    return {
        "that recomputing attention costs": third("attention", 1),
        "attention costs … to": third("attention", H),
        "at , which is": f"{H:,}",
        "halves cost the same:": third("attention", 2 * H),
        "same: … for attention,": third("ffn", 2 * H),
        "length attention costs more:": third("attention", 4 * H),
        "costs more: … against": third("ffn", 4 * H),
        "block whose attention costs": "100",
        "and whose FFN costs": "300",
        "FFN costs at most": fixed(share("ffn", 1) / share("attention", 1)),
        "and the example has": fixed(300 / 100),
        # 6SHF = 3 · (4(1 + r)SH² + 2HS(S + 1))
        "the example's ratio at": f"{C.ffn_size - 2 * H * (C.n_heads + C.n_kv_heads) // C.n_heads - 1:,}",
        "both halves costs exactly": third("both", LONG),
        "every length: out of": fixed(1 / cost("both", accounting="workshop")),
        "Llama 3.1 8B costs": fixed(100 * full[0], 1),
        "8B costs … to": percent(full[-1]),
        "run again. It is": percent(LAYERS * 2 * 1024 * H * C.ffn_size / once.forward, 0),
        # what there is more of at twice the length is the attention op
        "forward pass takes two:": times((twice.backward - 2 * once.backward) / (twice.forward - 2 * once.forward)),
        # torchtitan, docs/performance.md
        "for memory. torchtitan reports": "2,162 words/s",
        "13B without recomputation and": "1,904 words/s",
        "mode. Each step takes": percent(2162 / 1904 - 1, 0),
        "Llama 3.1 8B adds": fixed(100 * full[0], 1),
        "8B adds … to": percent(full[-1]),
        "attention op's output. At": "128K",
        "… tokens full costs": percent(cost("full", FAR)),
        "keeps that output, costs": percent(cost("save_attention", FAR)),
    }


def attention_first() -> dict[str, str]:
    ahead = [1 / advantage(LONG, rules=FlopRules(early_stop=s, causal=c)) for s in (True, False) for c in (True, False)]
    shares = [parity_share(model) for model in SIZES]
    flops = step().flops
    gpt3 = saved("core_attention", 2048, model="gpt-3-175b", accounting="paper")
    return {
        "the better choice from": f"{parity_length(M):,}",
        "of extra FLOPs frees": times(1 / advantage(LONG)),
        "its count, attention takes": percent(memory("attention", 1024), 0),
        "at 1K tokens and": percent(memory("attention", LONG), 0),
        "where the FFN takes": percent(memory("ffn", LONG), 0),
        "own formulas, attention takes": percent(share("attention", 1), 0),
        "very short sequence and": percent(share("attention", H), 0),
        "The FFN falls from": percent(share("ffn", 1), 0),
        "falls from … to": percent(share("ffn", H), 0),
        "formulas go on. From": f"{next(s for s in EVERY_LENGTH if share('attention', s) >= share('ffn', s)):,}",
        "At 16K it has": percent(share("attention", LONG), 0),
        "…, and the FFN": percent(share("ffn", LONG), 0),
        "where the ratio is": times(advantage(3072, accounting="workshop")),
        "table the ratio is": times(advantage(LONG, accounting="workshop")),
        "with eager attention agrees:": times(advantage(LONG, attention="eager")),
        "count the ratio is": times(advantage(1024, accounting="workshop")),
        "… at 1K tokens,": times(advantage(4096, accounting="workshop")),
        "… at 4K and": times(advantage(LONG, accounting="workshop")),
        "ratio levels out at": times(advantage(2**34, accounting="workshop")),
        "of the hidden size:": f"{fixed(min(shares), 2)}–{fixed(max(shares), 2)}",
        "half of 8B frees": f"{fixed(min(ahead), 1)}–{fixed(max(ahead), 1)}",
        "runs it, it frees": times(1 / advantage(FAR), 0),
        "FLOPs. The blocks keep": gib(kept("pointwise")),
        "keep … instead of": gib(kept()),
        "than attention leaves (": gib(kept("attention")),
        "attention leaves (…, for": percent(cost("attention")),
        "its lse. It leaves": gib(kept("save_attention")),
        "It leaves … for": percent(cost("save_attention")),
        "…, where full leaves": gib(kept("full")),
        "full leaves … for": percent(cost("full")),
        "as much as save_attention,": gib(kept("both")),
        "save_attention, …, but costs": percent(cost("both")),
        "attention op again (": percent(cost("core_attention")),
        # the o projection, of all that a step runs without recomputation
        "projection again instead (": percent(LAYERS * 2 * LONG * H * H / (flops.forward + flops.backward)),
        "flash attention it saves": percent(saved("core_attention"), 2),
        # twice what runs again of the FFN half is no more than what runs again of the block
        "costs less from": f"{next(s for s in range(16_385, 32_768) if 2 * cost('ffn', s) < cost('full', s)):,}",
        # Korthikanti et al., §5
        "behind Megatron's setting reports": "70 %",
        "memory for GPT-3 at": "2.7 %",
        "The package's formulas save": percent(gpt3, 0),
        "for that block, and": percent(saved("core_attention"), 2),
        # equation 8 and appendix A
        "Its equation 8 has": "12 Bs²h",
        "Its appendix A has": "4 Bs²h",
        "has …, which gives": percent(cost("core_attention", 2048, model="gpt-3-175b", accounting="paper"), 2),
    }


def flash_attention_page() -> dict[str, str]:
    seq_len, d, launch = 4096, H // C.n_heads, launches((8, 0), 2, H // C.n_heads, descriptors=False)
    tiles = traffic.Tiles(launch.forward.block_m, launch.dk_dv.block_n, launch.dq.block_m)
    shape = traffic.Shape(seq_len, d, C.n_heads, C.n_kv_heads)
    standard = [traffic.standard_forward(shape), traffic.standard_backward(shape)]
    once = [traffic.flash_forward(shape), traffic.flash_backward(shape)]
    loads = [traffic.flash_forward(shape, tiles), traffic.flash_backward(shape, tiles)]
    matmul = 2 * C.n_heads * seq_len**2 * d

    def total(passes: list[list[traffic.Kernel]], what: str) -> int:
        return sum(getattr(kernel, what) for kernels in passes for kernel in kernels)

    def gb(passes: list[list[traffic.Kernel]]) -> str:
        return f"{fixed(total(passes[:1], 'bytes') / 1e9, 3)} GB"

    def a_byte(passes: list[list[traffic.Kernel]]) -> str:
        return fixed(total(passes, "flops") / total(passes, "bytes"))

    idle = 1 - total(standard, "flops") / A100.bf16_flops / sum(
        max(each.bytes / A100.bandwidth, each.flops / A100.bf16_flops) for kernels in standard for each in kernels
    )
    rows, columns = seq_len // launch.forward.block_m, seq_len // launch.forward.block_n
    # a tile of 128 queries sees the tiles of 64 keys up to its last query; a mask cuts the last two
    wide = launch.forward.block_m // launch.forward.block_n
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, heads, 300, d, generator=generator).bfloat16() for heads in (8, 2, 2))
    exact = eager_attention(q.double(), k.double(), v.double())
    attended = (flash_attention(q, k, v, causal=True), eager_attention(q, k, v))
    off = [(output.double() - exact).abs().max() for output in attended]
    flops = [step("none", s).flops for s in (seq_len, 2 * seq_len)]
    return {
        "An A100 multiplies in": f"{A100.n_sms}",
        "HBM. HBM is about": f"{round(A100.memory_bytes / A100.n_sms / A100.sram_bytes, -2):,.0f}",
        # 19 TB/s: Dao et al., §2.1
        "SRAM together, and about": fixed(19e12 / A100.bandwidth, 1),
        "A100 in numbers The": size(A100.sram_bytes),
        "shared memory, up to": size(A100.shared_bytes),
        # 64K registers of four bytes
        "even closer, in the": size(65_536 * 4),
        "each in bfloat16. At": f"{seq_len:,}",
        "tokens and with the": f"{C.n_heads}",
        "3.1 8B they take": size(2 * C.n_heads * seq_len**2),
        "every block. That is": fixed(2 * C.n_heads * seq_len**2 / A100.n_sms / A100.sram_bytes),
        "an output of only": size(2 * seq_len * H),
        "of only …. At": "128K",
        "… tokens it is": size(2 * C.n_heads * FAR**2),
        "or read four times,": gb(standard),
        "again for every tile,": gb(loads),
        "key/value head are only": size(2 * 2 * seq_len * d),
        "an L2 cache of": size(A100.l2_bytes),
        "but the first, only": gb(once),
        "the forward kernel takes": f"{launch.forward.block_m}",
        # 163 KiB hold a tile of queries, of keys, of values and of the output, a fourth each
        "fits into shared memory,": f"{A100.shared_bytes // (4 * 2 * d)}",
        "The package's kernel takes": f"{launch.forward.block_m}",
        "takes … queries and": f"{launch.forward.block_n}",
        "tile of keys takes": size(2 * launch.forward.block_n * d),
        "the scores. Of the": f"{rows * columns:,}",
        "of one head at": f"{seq_len:,}",
        "tokens, the kernel visits": f"{sum(wide * (row + 1) for row in range(rows)):,}",
        "visits …, and only": f"{wide * rows}",
        "changes the rounding. On": "300",
        "float64 by at most": f"{off[0]:.4f}",
        "stores its scores differs by": f"{off[1]:.4f}",
        "gradients. So it costs": fixed(
            (flops[1].backward - 2 * flops[0].backward) / (flops[1].forward - 2 * flops[0].forward), 1
        ),
        "more. Standard attention runs": fixed(total(standard, "flops") / matmul),
        "The package's kernels run": fixed(total(once, "flops") / matmul),
        "for itself. That is": percent(total(once, "flops") / total(standard, "flops") - 1, 0),
        "An A100 can run": fixed(A100.bf16_flops / A100.bandwidth),
        "Standard attention has only": a_byte(standard),
        "idle for at least": percent(idle, 0),
        "softmax.) Flash attention has": a_byte(once),
        "tensor moves once, and": a_byte(loads),
        # Dao et al., figure 2
        "on an A100, at": "1,024 tokens",
        "an A100, at …:": "75.2 GFLOP",
        "…: … instead of": "66.6 GFLOP",
        "… instead of …,": "4.4 GB",
        "… moved instead of": "40.3 GB",
        "moved instead of …,": "7.3 ms",
        "…, … instead of": "41.7 ms",
        "flash attention it saves": percent(saved("core_attention", FAR), 2),
        "the blocks keep. At": "128K",
        "… tokens it adds": percent(cost("core_attention", FAR)),
        "grows with . At": "128K",
        "… tokens that is": percent(cost("full", FAR)),
        "the cost falls to": percent(cost("save_attention", FAR)),
    }
