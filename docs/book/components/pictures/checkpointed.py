"""The picture of a step with checkpoints: a block keeps its input, and computes the rest again when it is needed."""

from __future__ import annotations

from markupsafe import Markup

from actckpt.formulas.timeline import Pass
from book.components.pictures import scene, svg
from book.components.pictures.scene import Scene
from book.quantities import passes, steps, text

POLICY = "full"


def picture() -> Markup:
    return scene.picture(
        POLICY,
        {
            "forward": "compute, discard, keep the input",
            "recompute": "from its checkpoint",
            "backward": "use what was rebuilt, free it",
        },
        _without,
        name="checkpointing",
        title="Kept small, rebuilt one at a time: the staircase becomes a row of short towers",
        description=(
            f"{passes.N_LAYERS} layers run forward and keep only their inputs. In the backward pass each layer is "
            "computed again just before its gradients, and freed before the next. Underneath, memory stays low in the "
            "forward pass and rises to one rebuilt layer in the backward pass. A dashed line shows a step that "
            "recomputes nothing: a higher staircase, which ends earlier."
        ),
        frames=sentences(),
        caption="The dashed line is the step above, on the same axes: it needs more memory and ends sooner. That is "
        "the trade.",
    )


def sentences() -> list[str]:
    peak, without = (text.size(passes.peak(policy).bytes) for policy in (POLICY, "none"))
    more = text.percent(steps.overhead(POLICY))
    back = passes.passes(POLICY)[passes.N_LAYERS :]
    return [
        "Nothing has run yet. The dashed line is the memory of the step above, which stores everything.",
        *map(_forward, passes.of(POLICY, "forward")),
        f"The loss is known. The layers hold {passes.forward_total(POLICY)} instead of "
        f"{passes.forward_total('none')}: one checkpoint each.",
        *(_recompute(each) if each.action == "recompute" else _backward(each) for each in back),
        f"The step is over. Its peak was {peak} instead of {without}. It took {more} more FLOPs.",
    ]


def _forward(each: Pass) -> str:
    layer = each.layer + 1
    if layer == 1:
        return (
            f"Layer 1 computes as before, but frees everything except its input, the checkpoint. It keeps "
            f"{text.size(each.bytes)} instead of {text.size(steps.block())}."
        )
    return f"Layer {layer} runs and keeps its checkpoint. The layers hold {text.size(each.bytes)}."


def _recompute(each: Pass) -> str:
    layer = each.layer + 1
    if layer == passes.N_LAYERS:
        return (
            f"Layer {layer} needs its tensors now. It runs forward a second time, from its checkpoint, and this time "
            f"it keeps everything. The layers hold {text.size(each.bytes)}."
        )
    if layer == 1:
        return f"Layer 1 is rebuilt from the last checkpoint. The layers hold {text.size(each.bytes)}."
    return f"Layer {layer} is rebuilt from its own checkpoint, in the memory that layer {layer + 1} has freed."


def _backward(each: Pass) -> str:
    layer = each.layer + 1
    if layer == passes.N_LAYERS:
        return (
            f"Layer {layer} runs backward and reads them. At most {text.size(each.bytes)} is in use. This is the peak. "
            "Then everything of this layer is freed, its checkpoint too."
        )
    return f"Layer {layer} runs backward and is freed. At most {text.size(each.bytes)} is in use."


def _without(drawn: Scene) -> str:
    # the step that recomputes nothing, on this scene's axes
    points = Scene("none", drawn.layout, drawn.span).outline()
    top = min(points, key=lambda point: point[1])
    held = text.size(passes.peak("none").bytes)
    words = f"{held} with nothing recomputed" if drawn.layout.wide else f"{held} without"
    end, right, y = points[-1][0], drawn.layout.right, drawn.layout.bottom
    more = svg.group(
        svg.path(f"M{end:.1f} {y + 4}v8H{right}v-8", cls="ac-line"),
        svg.text(right, y + 26, f"+{text.percent(steps.overhead(POLICY))}", cls="ac-strong", text_anchor="end"),
        when=drawn.line.since(drawn.line.n_frames - 1),
    )
    place = (top[0] + 6, top[1] - 7)
    return svg.group(
        svg.path(svg.polyline(points), cls="ac-line ac-without"), svg.text(*place, words, cls="ac-quiet"), more
    )
