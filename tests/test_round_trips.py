"""The picture of standard and of flash attention: what its arrows carry is what attention reads and writes."""

import re

import pytest
from book.components.pictures import round_trips as picture

from actckpt import ACCELERATORS

S, HEADS, KV_HEADS, HEAD = 4096, 32, 8, 128
# bytes of Llama 3.1 8B's attention in bfloat16, and of a float32 for each query of each head
Q, KV, MATRIX, LSE = 2 * HEADS * S * HEAD, 2 * KV_HEADS * S * HEAD, 2 * HEADS * S * S, 4 * HEADS * S
STANDARD = [
    ("read", {"q": Q, "k": KV}),
    ("write", {"scores": MATRIX}),
    ("read", {"scores": MATRIX}),
    ("write", {"probabilities": MATRIX}),
    ("read", {"probabilities": MATRIX, "v": KV}),
    ("write", {"output": Q}),
]
FLASH = [("read", {"q": Q, "k": KV, "v": KV}), ("write", {"output": Q, "lse": LSE})]
PANELS = list(zip(picture.PANELS, (STANDARD, FLASH), strict=True))


def total(moves: list[tuple[str, dict[str, int]]]) -> int:
    return sum(sum(tensors.values()) for _, tensors in moves)


def gb(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.3f}\u00a0GB"


@pytest.mark.parametrize(("panel", "moves"), PANELS)
def test_the_arrows_are_what_the_kernels_move(panel: picture.Panel, moves: list[tuple[str, dict[str, int]]]) -> None:
    assert [(move.way, move.tensors) for move in panel.moves] == moves
    # one move a frame, and every kernel is lit while it reads and while it writes
    frames = [move.frame for move in panel.moves]
    assert frames == sorted(set(frames))
    lit = [frames for _, frames in panel.kernels]
    assert sorted(frame for each in lit for frame in each) == list(range(frames[0], frames[-1] + 1))
    assert all(lit[index // 2][0] <= move.frame <= lit[index // 2][-1] for index, move in enumerate(panel.moves))


@pytest.mark.parametrize(("panel", "moves"), PANELS)
def test_breadths_are_to_scale_and_sums_are_right(
    panel: picture.Panel, moves: list[tuple[str, dict[str, int]]]
) -> None:
    drawn = "".join(picture._panel(panel))
    meter = re.findall(rf'<rect class="ac-area[^>]*? y="{picture.METER}" width="([\d.]+)"', drawn)
    assert sum(map(float, meter)) / picture.WIDTH == pytest.approx(total(moves) / total(STANDARD), abs=1e-3)
    moved = re.findall(r"moved: ([\d.]+\sGB)", drawn)
    sums = [gb(total(moves[: index + 1])) for index in range(len(moves))]
    assert moved == sums
    ribbons = re.findall(r'd="M([\d.]+) [\d.]+V[\d.]+L[\d.]+ [\d.]+L([\d.]+) ', drawn)
    n_matrices = sum(n_bytes == MATRIX for _, tensors in moves for n_bytes in tensors.values())
    # each is drawn twice: as it moves, and faded afterwards
    assert len(ribbons) == 2 * n_matrices
    assert {float(right) - float(left) for left, right in ribbons} <= {picture.RIBBON}
    assert picture.breadth(MATRIX // 2) == picture.RIBBON / 2


def test_the_sentences_say_what_moves() -> None:
    sentences = picture.sentences()
    assert len(sentences) == picture.LINE.n_frames
    for panel in picture.PANELS:
        for move in panel.moves:
            assert gb(move.bytes) in sentences[move.frame]
    bandwidth = ACCELERATORS["a100-80gb"].bandwidth
    for moves in (STANDARD, FLASH):
        assert gb(total(moves)) in sentences[-1]
        assert f"{1000 * total(moves) / bandwidth:.2g}\u00a0ms" in sentences[-1]
    assert f"{100 * 4 * MATRIX / total(STANDARD):.0f}\u00a0%" in sentences[6]
