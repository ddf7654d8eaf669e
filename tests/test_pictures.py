"""The pictures: their numbers are the package's, and every frame says what it shows."""

import re
from dataclasses import replace

import pytest
from book.components.pictures import block_drawing, save_point, scene, svg
from book.components.pictures.player import player
from book.quantities import block_map as block
from book.quantities import passes
from book.quantities.steps import LONG, MODEL

from actckpt import POLICIES, PRESETS, estimate
from actckpt.config import ModelConfig


def model(vocab_size: int) -> ModelConfig:
    return replace(PRESETS[MODEL], n_layers=passes.N_LAYERS, vocab_size=vocab_size)


@pytest.mark.parametrize("policy", ["none", "full"])
def test_the_curve_of_a_step(policy: str) -> None:
    step = estimate(model(vocab_size=8), seq_len=LONG, policy=policy)
    everything = estimate(model(vocab_size=8), seq_len=LONG).block.bytes
    runs = passes.passes(policy)
    for each in runs:
        before = each.layer * step.block.bytes
        held = step.block.bytes if each.action == "forward" else everything
        assert each.bytes - each.working_bytes == before + held
        assert (each.working_bytes > 0) == (each.action == "backward")
    # with next to no vocabulary the blocks have the peak of the whole step; the loss's own gradient is 4 bytes
    assert passes.peak(policy).bytes + 4 == step.working_bytes
    for action in ("forward", "recompute", "backward"):
        flops = sum(each.flops for each in runs if each.action == action)
        assert flops == getattr(step.flops, action)
    assert [each.layer for each in runs if each.action == "backward"] == [3, 2, 1, 0]


@pytest.mark.parametrize("policy", ["none", "full"])
@pytest.mark.parametrize("layout", scene.LAYOUTS, ids=lambda layout: layout.name)
def test_the_curve_is_drawn_to_scale(policy: str, layout: scene.Layout) -> None:
    drawn = scene.Scene(policy, layout, scene.span(policy))
    columns, runs = drawn.columns(), passes.passes(policy)
    per_byte = (layout.bottom - drawn.y(runs[0].bytes)) / runs[0].bytes
    per_flop = (columns[0][2] - columns[0][1]) / runs[0].flops
    levels = [y for _, y in drawn.outline()][2:-1:3]
    assert len(levels) == len(runs)
    for each, (_, start, end), y in zip(runs, columns, levels, strict=True):
        assert (layout.bottom - y) / each.bytes == pytest.approx(per_byte)
        assert (end - start) / each.flops == pytest.approx(per_flop)
    assert columns[-1][2] == pytest.approx(layout.right)


def test_a_part_says_in_which_frames_it_is_shown() -> None:
    line = svg.Timeline(10, still=4)
    assert line.on(2, range(4, 8)).attribute == "2 4-7"
    assert line.since(8).attribute == "8-9"
    assert line.before(2).attribute == "0-1"
    assert svg.box(0, 0, 1, 1, when=line.since(4)).count("is-off") == 0
    assert svg.box(0, 0, 1, 1, when=line.before(4)).count("is-off") == 1
    assert line.on(range(8, 99)) == line.since(8)


def test_a_player_names_its_drawings() -> None:
    drawing = svg.svg(360, 100, layout="narrow") + svg.svg(720, 100, layout="wide")
    made = player(
        name="p",
        title="Why & how",
        description="what",
        frames=["one", "two"],
        drawing=drawing,
        caption="see",
        made_by="f()",
        assumes="nothing",
        test="test_pictures::test_a_player_names_its_drawings",
    )
    assert made.count("<title") == made.count("<desc") == made.count('role="img"') == 2
    assert made.count("Why &amp; how") == 3
    ids = re.findall(r' id="([^"]+)"', made)
    assert len(ids) == len(set(ids))
    for reference in re.findall(r'aria-\w+by="([^"]+)"', made):
        assert reference in ids


def shown_under(policy: str, html: str) -> list[str]:
    """What stands in the elements of a drawing that are shown under a policy."""
    parts = re.findall(r'<g data-in="([^"]*)"[^>]*>(.*?)</g>', html, re.DOTALL)
    return [content for policies, content in parts if policy in policies.split()]


@pytest.mark.parametrize("policy", block.CHOICES)
def test_the_map_is_the_ledger(policy: str) -> None:
    ledger = estimate(MODEL, seq_len=LONG, policy=policy).block
    names = {name for row in block.ROWS for name in row.tensors}
    assert {term.name for term in ledger} <= names, "a tensor that is kept is not on the map"
    _, wide, narrow = block_drawing.drawings().split("<svg ")
    for drawing in (wide, narrow):
        boxes = [part for part in shown_under(policy, drawing) if "<title>" in part]
        assert len(boxes) == len(names), "each tensor is shown once, kept or not"
        kept = {}
        for box in boxes:
            cls, name, n_bytes = re.search(r'class="ac-box ([^"]+)".*<title>([\w.]+): .* ([\d,]+) bytes', box).groups()
            if "ac-empty" not in cls and cls != "ac-passing":
                kept[name] = (cls.removeprefix("ac-"), int(n_bytes.replace(",", "")))
        assert kept == {term.name: (term.component, term.bytes) for term in ledger}
        (bar,) = (part for part in shown_under(policy, drawing) if part.count("<rect") and 'y="4"' in part)
        width = sum(float(width) for width in re.findall(r'width="([\d.]+)"', bar))
        whole = estimate(MODEL, seq_len=LONG).block.bytes
        of_all = float(re.search(r'viewBox="0 0 (\d+)', drawing)[1]) - 2
        assert width / of_all == pytest.approx(ledger.bytes / whole, abs=1e-3)


def test_the_map_brackets_what_runs_again() -> None:
    _, wide, _ = block_drawing.drawings().split("<svg ")
    n_brackets = {policy: sum("ac-around" in part for part in shown_under(policy, wide)) for policy in block.CHOICES}
    assert n_brackets == {policy: len(POLICIES[policy].regions) for policy in block.CHOICES}


def test_the_level_is_the_block() -> None:
    none, full = (estimate(MODEL, seq_len=LONG, policy=policy) for policy in ("none", "full"))
    pieces = [tensors for _, tensors, _ in save_point.PIECES]
    names = [*save_point.SAVE_POINT, *(name for tensors in pieces for name in tensors)]
    assert names == [term.name for term in none.block]
    assert [term.name for term in full.block] == [*save_point.SAVE_POINT]
    sizes = [sum(none.block[name].bytes for name in tensors) for tensors in (save_point.SAVE_POINT, *pieces)]
    for layout in save_point.LAYOUTS:
        *widths, last = (width for _, width in save_point.places(layout))
        scale = widths[0] / full.block.bytes
        assert widths == pytest.approx([scale * n_bytes for n_bytes in sizes])
        left, width = save_point.places(layout)[-1]
        assert (last, left + width) == (widths[0], pytest.approx(layout.width - 1))
        drawn = save_point._drawing(layout)
        for tensors in pieces:
            # the coin above and the tensor below have its component's colour
            assert drawn.count(f"ac-{none.block[tensors[0]].component}") >= 2
    said = save_point.sentences()
    assert len(said) == save_point.LINE.n_frames
    assert "128\u00a0MiB" in said[save_point.SAVED]
    assert full.block.bytes == 128 * 2**20
    assert f"{none.block.bytes / 2**30:.3g}\u00a0GiB" in said[save_point.DONE]
    assert f"{(none.block.bytes - full.block.bytes) / 2**30:.3g}\u00a0GiB" in said[save_point.FORGOTTEN]
    assert f"{100 * full.flops.overhead:.1f}\u00a0%" in said[save_point.SUMMARY]
    # the first half is the attention half, and it alone is picked up half way
    halfway = [save_point.HALFWAY in save_point.picked_up(index).frames for index in range(len(pieces))]
    assert halfway == [index <= pieces.index(("residual",)) for index in range(len(pieces))]
