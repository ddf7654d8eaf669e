"""The picture of a step that recomputes nothing: every block stores what it computed until its backward pass."""

from __future__ import annotations

from markupsafe import Markup

from actckpt.formulas.timeline import Pass
from book.components.pictures import scene
from book.quantities import passes, text

POLICY = "none"


def picture() -> Markup:
    return scene.picture(
        POLICY,
        {"forward": "compute, store", "backward": "use what is stored, free it"},
        name="baseline",
        title="Stored first, used last: memory climbs until the last layer has run",
        description=f"{passes.N_LAYERS} layers run forward from left to right, then backward. Underneath, the memory "
        "that they hold rises by one step with every forward pass and falls by one with every backward pass: a "
        "staircase up and down.",
        frames=sentences(),
        caption="Each step of the staircase is the stored tensors of one layer. They stay in memory from its forward "
        "pass to its backward pass. For the first layer that is almost the whole step.",
    )


def sentences() -> list[str]:
    return [
        "Nothing has run yet. Each dashed box is a pass that comes later, as wide as the FLOPs that it takes.",
        *map(_forward, passes.of(POLICY, "forward")),
        f"The loss is known, and no stored tensor has been used yet. All {passes.forward_total(POLICY)} wait for the "
        "gradients, which start at the last layer.",
        *map(_backward, passes.of(POLICY, "backward")),
        f"The step is over and everything is freed. At its peak it held {text.size(passes.peak(POLICY).bytes)}.",
    ]


def _forward(each: Pass) -> str:
    layer, held = each.layer + 1, text.size(each.bytes)
    if layer == 1:
        return f"Layer 1 computes its output and stores what its backward pass will read: {held}."
    if layer == passes.N_LAYERS:
        return f"Layer {layer}, the last, has run. The layers hold {held}."
    return f"Layer {layer} does the same with the output of layer {layer - 1}. The layers hold {held}."


def _backward(each: Pass) -> str:
    layer, alive = each.layer + 1, text.size(each.bytes)
    if layer == passes.N_LAYERS:
        return (
            f"Layer {layer} runs backward first: it was stored last and is used first. While its gradients are "
            f"computed, up to {alive} is in use. This is the peak."
        )
    if layer == 1:
        return f"The tensors of layer 1, stored in the first pass, are read in the last. At most {alive} is in use."
    return f"The tensors of layer {layer + 1} are freed. Layer {layer} reads its own. At most {alive} is in use."
