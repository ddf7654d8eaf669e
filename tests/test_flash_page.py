"""The chapter on flash attention: what its charts and tables count is what attention reads, writes and multiplies."""

import html
import re
from pathlib import Path

import pytest
from book.chapters import flash_attention
from book.components.pictures import hierarchy, softmax, tiles
from book.quantities import flash
from book.quantities import online_softmax as row
from book.quantities.text import gib, size
from book.quantities.tiles import counts, visits

from actckpt import ACCELERATORS, PRESETS, estimate
from actckpt.formulas import traffic
from actckpt.formulas.traffic import Shape, Tiles

figures = pytest.importorskip("actckpt.figures.flash")
torch = pytest.importorskip("torch")

ROOT = Path(__file__).resolve().parent.parent
MODEL = "llama-3.1-8b"
A100 = ACCELERATORS["a100-80gb"]
TILES = Tiles(forward=128, dk_dv=64, dq=64)


def moved_elements(forward: bool, seq_len: int, d: int) -> int:
    """What standard attention moves, op by op, in elements of one head."""
    q = k = v = torch.empty(seq_len, d, device="meta")
    s = q @ k.T
    p = torch.softmax(s, -1)
    o = p @ v
    if forward:
        return sum(x.numel() for x in (q, k, s, s, p, p, v, o))
    do, dp, ds = torch.empty_like(o), torch.empty_like(p), torch.empty_like(s)
    return sum(x.numel() for x in (p, do, v, do, v, dp, p, dp, ds, ds, k, q, ds, q, k))


@pytest.mark.parametrize("seq_len", [512, 4096])
def test_standard_attention_moves_what_its_ops_read_and_write(seq_len: int) -> None:
    shape = Shape(seq_len, 128)
    assert traffic.moved_bytes(traffic.standard_forward(shape)) == 2 * moved_elements(True, seq_len, 128)
    assert traffic.moved_bytes(traffic.standard_backward(shape)) == 2 * moved_elements(False, seq_len, 128)


@pytest.mark.parametrize(("seq_len", "tile"), [(512, 128), (1000, 128), (4096, 64)])
def test_flash_attention_loads_every_key_for_every_tile_of_queries(seq_len: int, tile: int) -> None:
    shape, elements, rows = Shape(seq_len, 64, n_heads=8, n_kv_heads=2), 0, 0
    for _ in range(8):
        for start in range(0, seq_len, tile):
            queries = min(tile, seq_len - start)
            # q and the output of the tile, and all keys and values
            elements += 2 * queries * 64 + 2 * seq_len * 64
            rows += queries
    [kernel] = traffic.flash_forward(shape, Tiles(tile, tile, tile))
    assert kernel.bytes == 2 * elements + 4 * rows
    [once] = traffic.flash_forward(shape)
    assert once.bytes == 2 * (2 * 8 + 2 * 2) * seq_len * 64 + 4 * 8 * seq_len
    assert once.flops == kernel.flops == 4 * 8 * seq_len**2 * 64


@pytest.mark.parametrize(("seq_len", "keys", "queries"), [(512, 128, 64), (1000, 64, 128)])
def test_the_backward_pass_loads_every_query_for_every_tile_of_keys(seq_len: int, keys: int, queries: int) -> None:
    shape, d, heads, kv_heads = Shape(seq_len, 64, n_heads=8, n_kv_heads=2), 64, 8, 2
    key_tiles, query_tiles = (len(range(0, seq_len, tile)) for tile in (keys, queries))
    delta, dk_dv, dq = traffic.flash_backward(shape, Tiles(forward=1, dk_dv=keys, dq=queries))
    # o, do and lse are read, and delta and another lse are written
    assert delta.bytes == 2 * 2 * heads * seq_len * d + 4 * 3 * heads * seq_len
    # k, v, dk and dv once; q, do, lse and delta of each query head past each tile of keys
    passing = heads * key_tiles * seq_len
    assert dk_dv.bytes == 2 * 4 * kv_heads * seq_len * d + 2 * 2 * passing * d + 4 * 2 * passing
    # q, do, dq, lse and delta once; k and v past each tile of queries of each query head
    once = heads * seq_len
    assert dq.bytes == 2 * 3 * once * d + 4 * 2 * once + 2 * 2 * heads * query_tiles * seq_len * d
    # each tensor once is what is left with a single tile
    whole = Tiles(forward=seq_len, dk_dv=seq_len, dq=seq_len)
    alone = Shape(seq_len, 64)
    assert traffic.flash_backward(alone, whole) == traffic.flash_backward(alone)


def test_flash_attention_multiplies_what_the_kernels_do() -> None:
    source = (ROOT / "actckpt/ops/attention/kernels.py").read_text(encoding="utf-8")
    bodies = {body.split("(")[0]: body.count("tl.dot(") for body in source.split("\ndef ")[1:]}
    shape = Shape(1024, 64)
    in_matmuls = {kernel.name: kernel.flops // shape.matmul_flops for kernel in traffic.flash_backward(shape)}
    assert in_matmuls == {"delta": 0, "dk and dv": bodies["dk_dv_kernel"], "dq": bodies["dq_kernel"]}
    assert traffic.flash_forward(shape)[0].flops // shape.matmul_flops == bodies["forward_kernel"]


def test_traffic_grows_as_theorem_2_says() -> None:
    assert flash.traffic_growth("seq_len") == pytest.approx((4, 4, 4), rel=0.01)
    # d² and 1/M: a larger head makes the rows longer and the tiles shorter; standard attention does not care
    assert flash.traffic_growth("head_dim") == pytest.approx((1, 4, 1), rel=0.01)
    assert flash.traffic_growth("sram") == pytest.approx((1, 0.5, 0.5), rel=0.01)


def test_attention_traffic() -> None:
    figure = figures.attention_traffic(128, "a100-80gb")
    lines = {trace.name: trace for trace in figure.data}
    tile = A100.shared_bytes // (4 * 128 * 2)
    for index, seq_len in enumerate(lines["standard"].x):
        assert lines["standard"].y[index] * 1e9 == pytest.approx(2 * moved_elements(True, seq_len, 128))
        passes = -(-seq_len // tile)
        loads = 2 * (2 + 2 * passes) * seq_len * 128 + 4 * seq_len
        assert lines["flash, every load"].y[index] * 1e9 == pytest.approx(loads)
        assert lines["flash, each tensor once"].y[index] * 1e9 == pytest.approx(8 * seq_len * 128 + 4 * seq_len)
    ratio = lines["standard"].y[-1] / lines["flash, every load"].y[-1]
    assert f"{ratio:.1f} times less" in figure.layout.title.text
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "log"


def test_attention_bounds() -> None:
    figure = figures.attention_bounds(MODEL, 4096, "a100-80gb", TILES)
    multiply, once, loads = figure.data
    assert list(multiply.y) == ["standard, forward", "flash, forward", "standard, backward", "flash, backward"]
    matmul = 2 * 32 * 4096**2 * 128 / A100.bf16_flops * 1000
    assert list(multiply.x) == pytest.approx([2 * matmul, 2 * matmul, 4 * matmul, 7 * matmul])
    shape = Shape.of(PRESETS[MODEL], 4096)
    for line, kernels in (
        (0, traffic.standard_forward(shape)),
        (1, traffic.flash_forward(shape)),
        (2, traffic.standard_backward(shape)),
        (3, traffic.flash_backward(shape)),
    ):
        assert once.x[line] == pytest.approx(1000 * sum(kernel.bytes for kernel in kernels) / A100.bandwidth)
        assert loads.x[line] >= once.x[line]
    # what the title says: who waits for what, and who is done first
    assert once.x[0] > multiply.x[0]
    assert once.x[2] > multiply.x[2]
    assert once.x[1] < multiply.x[1]
    assert once.x[3] < multiply.x[3]
    standard, flash = (float(x) for x in re.findall(r"(\d+\.\d)\sms", figure.layout.title.text))
    assert standard > flash


def test_the_tiles_are_the_package_s() -> None:
    assert flash.TILES == TILES


def test_the_scores_of_the_example() -> None:
    assert size(flash.SHAPE.matrix_bytes) == "1\u00a0GiB"
    assert 2 * 32 * 4096**2 == 2**30 == Shape.of(PRESETS[MODEL], 4096).matrix_bytes
    assert size(flash.DEVICE.total_sram_bytes) == "20.25\u00a0MiB"
    assert 108 * 192 * 1024 == 20.25 * 2**20


def test_the_comparison_has_the_package_s_numbers() -> None:
    cells = html.unescape(re.sub(r"<[^>]+>", "|", flash_attention.comparison()))
    for attention in ("eager", "flash"):
        saved = estimate(MODEL, seq_len=4096, attention=attention).block.component_bytes("attention")
        assert size(saved) in cells
    assert "2.0\u00a0× the forward pass’s FLOPs" in cells
    assert "2.5\u00a0× the forward pass’s FLOPs" in cells


def test_composition_has_the_package_s_numbers() -> None:
    table = flash_attention.composition()
    for policy in ("none", "core_attention", "ffn", "save_attention", "full"):
        for seq_len in (32 * 1024, 128 * 1024):
            step = estimate(MODEL, seq_len=seq_len, policy=policy)
            assert gib(step.total_bytes) in table
    core, none = (estimate(MODEL, seq_len=131072, policy=name).total_bytes for name in ("core_attention", "none"))
    assert 1 - core / none < 0.1, "the page says that it saves next to nothing"


def test_the_memories_are_drawn_to_scale() -> None:
    for layout in hierarchy.LAYOUTS:
        *_, width, height = layout.memory
        per_byte = width * height / A100.memory_bytes
        areas = hierarchy.areas(layout)
        assert areas["scores"] == pytest.approx(per_byte * 2**30)
        assert areas["sram"] == pytest.approx(per_byte * 108 * 192 * 1024)
        assert areas["weights"] == pytest.approx(per_byte * 2 * PRESETS[MODEL].n_parameters)
        # the square of the scores lies above the weights
        assert 52 + areas["scores"] ** 0.5 < height - areas["weights"] / width
    breadths = hierarchy.breadths()
    assert breadths["sram"] / breadths["hbm"] == pytest.approx(19e12 / A100.bandwidth)
    drawn = hierarchy.picture()
    assert drawn.count("ac-cell") == 2 * 2 * A100.n_sms


def test_the_sram_estimate_is_what_the_banks_give() -> None:
    # 32 banks of 4 bytes a clock, at the boost clock of 1.41 GHz
    assert 32 * 4 * 1.41e9 * A100.n_sms == pytest.approx(19e12, rel=0.03)


def brute_force(seq_len: int, block_m: int, block_n: int) -> list[tuple[int, int, bool]]:
    visible = torch.ones(seq_len, seq_len, dtype=torch.bool).tril()
    tiles = (
        (i, j, visible[i * block_m : (i + 1) * block_m, j * block_n : (j + 1) * block_n])
        for i in range(-(-seq_len // block_m))
        for j in range(-(-seq_len // block_n))
    )
    return [(i, j, not bool(tile.all())) for i, j, tile in tiles if tile.any()]


@pytest.mark.parametrize(
    ("seq_len", "block_m", "block_n"), [(512, 128, 128), (512, 128, 64), (300, 128, 64), (300, 64, 128)]
)
def test_the_tiles_that_are_visited(seq_len: int, block_m: int, block_n: int) -> None:
    found = [(visit.queries, visit.keys, visit.masked) for visit in visits(seq_len, block_m, block_n)]
    assert found == brute_force(seq_len, block_m, block_n)
    in_all = -(-seq_len // block_m) * -(-seq_len // block_n)
    assert counts(seq_len, block_m, block_n) == (in_all, len(found), sum(masked for *_, masked in found))


def test_every_tile_has_a_frame_of_its_own() -> None:
    assert [(visit.queries, visit.keys, visit.masked) for visit in tiles.VISITS] == brute_force(512, 128, 128)
    sentences = tiles.sentences()
    assert len(sentences) == tiles.LINE.n_frames == 12
    for sentence, visit in zip(sentences[1:-1], tiles.VISITS, strict=True):
        assert sentence.startswith(f"Queries {visit.queries + 1}, keys {visit.keys + 1}:")
        assert ("a mask hides" in sentence) == visit.masked
    assert sentences[-1].startswith("Of 16 tiles, 10 were computed, 4 of them with a mask. The other 6 were not.")


def test_the_online_softmax() -> None:
    steps, scores = row.steps(), torch.tensor(row.scores(), dtype=torch.float64)
    for index, step in enumerate(steps):
        seen = row.TILE * (index + 1)
        output, lse = row.package(seen)
        assert step.row_max == scores[:seen].max().item()
        assert step.row_max + torch.tensor(step.row_sum).double().log().item() == pytest.approx(lse, abs=1e-7)
        assert [x / step.row_sum for x in step.acc] == pytest.approx(output, abs=1e-12)
    assert [x / steps[-1].row_sum for x in steps[-1].acc] == pytest.approx(row.whole_row(), abs=1e-15)
    # the picture shows a maximum that rises and one that stays
    factors = [step.rescale for step in steps]
    assert factors[0] == 0
    assert 1 in factors[1:]
    assert sum(factor < 0.9 for factor in factors[1:]) >= 2


def test_the_numbers_of_the_stepper_go_with_its_sentences() -> None:
    panel = {label.split(",")[0]: value for label, value in softmax._PANEL}
    for index, step in enumerate(row.steps()):
        arrives, added = 2 * index + 1, 2 * index + 2
        assert panel["m"](arrives) == panel["m"](added) == softmax._number(step.row_max)
        assert panel["l"](added) == softmax._number(step.row_sum)
        assert panel["a"](added) == softmax._pair(step.acc)
        before = row.steps()[index - 1].row_sum if index else 0.0
        assert panel["l"](arrives) == softmax._number(before * step.rescale)
        assert softmax._number(step.row_sum) in softmax.sentences()[added]
    assert panel["output"](softmax.COMPARED) == softmax._pair(row.package()[0])
    assert panel["saved"](softmax.COMPARED) == softmax._number(row.package()[1])
