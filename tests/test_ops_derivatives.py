"""How the ops are differentiated: by autograd and torch.func alike, once, in reverse mode; RoPE any number of times."""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import replace

import pytest
import torch
from kernels.ops_cases import inverse_frequencies, plain_rope, randn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, linearize, vjp, vmap

from actckpt import PRESETS, Llama
from actckpt.errors import InputError
from actckpt.ops import flash_attention, rms_norm, rope, swiglu

OPS = torch.ops.actckpt
WEIGHT = randn(6)
FREQUENCIES = inverse_frequencies(4)

# each op as a function of one tensor, through all of its arguments, and a batch of three such tensors
FUNCTIONS = {
    "rms_norm": (lambda x: rms_norm(x, WEIGHT * x[0], 1e-5), randn(3, 5, 6)),
    "swiglu": (lambda x: swiglu(x, x.sin()), randn(3, 5, 6)),
    "rope": (lambda x: torch.cat(rope(x, x.sin(), FREQUENCIES)), randn(3, 1, 5, 2, 4)),
    "flash_attention": (lambda x: flash_attention(x, x.sin(), x.cos(), causal=True), randn(3, 1, 2, 5, 4)),
}
each_op = pytest.mark.parametrize("name", FUNCTIONS)
each_op_that_ends = pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "rope"])

ONCE = "_backward has no derivative: .* can be differentiated once"


def loss_of(name):
    function, batch = FUNCTIONS[name]
    return lambda x: function(x).square().sum(), batch


def gradient(function, x, **options):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(function(x), x, **options)[0]


def refused(match, call):
    with pytest.raises(InputError, match=match) as error:
        call()
    assert "\n" not in str(error.value)


@each_op
def test_torch_func_gives_autograds_gradients(name):
    loss, batch = loss_of(name)
    function, x = FUNCTIONS[name][0], batch[0]
    expected = gradient(loss, x)
    assert expected.count_nonzero() > expected.numel() / 2
    torch.testing.assert_close(grad(loss)(x), expected)
    # the transform is over when the gradient is asked for
    value, pullback = vjp(loss, x)
    torch.testing.assert_close(pullback(torch.ones_like(value))[0], expected)
    torch.testing.assert_close(jacrev(function)(x), torch.autograd.functional.jacobian(function, x))
    torch.testing.assert_close(vmap(grad(loss))(batch), torch.stack([gradient(loss, x) for x in batch]))


def test_torch_func_differentiates_a_model():
    sizes = {"hidden_size": 16, "n_layers": 1, "n_heads": 4, "n_kv_heads": 2, "ffn_size": 24, "vocab_size": 32}
    model = Llama(replace(PRESETS["llama-3.1-8b"], name="small", **sizes))
    tokens, targets = torch.arange(32).view(2, 2, 8)
    found = grad(lambda parameters: functional_call(model, parameters, (tokens, targets)))(
        dict(model.named_parameters())
    )
    model(tokens, targets).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad)


@each_op
def test_vmap_maps_without_a_warning(name):
    function, batch = FUNCTIONS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(vmap(function)(batch), torch.stack([function(x) for x in batch]))
    moved = batch.movedim(0, -1)
    torch.testing.assert_close(vmap(function, in_dims=-1)(moved), torch.stack([function(x) for x in batch]))
    x = batch.clone().requires_grad_()
    torch.testing.assert_close(
        torch.autograd.grad(vmap(function)(x).square().sum(), x)[0], vmap(grad(loss_of(name)[0]))(batch)
    )
    refused("size 0", lambda: vmap(function)(batch[:0]))


@each_op
def test_several_gradients_at_once(name):
    function, batch = FUNCTIONS[name]
    x = batch[0].clone().requires_grad_()
    output = function(x)
    directions = torch.stack([output.detach(), torch.ones_like(output)])
    together = torch.autograd.grad(output, x, directions, is_grads_batched=True, retain_graph=True)[0]
    alone = [torch.autograd.grad(output, x, direction, retain_graph=True)[0] for direction in directions]
    torch.testing.assert_close(together, torch.stack(alone))


@each_op
def test_a_graph_is_gone_through_twice(name):
    loss, batch = loss_of(name)
    x = batch[0].clone().requires_grad_()
    value = loss(x)
    first = torch.autograd.grad(value, x, retain_graph=True)[0]
    assert torch.equal(torch.autograd.grad(value, x)[0], first)


@each_op_that_ends
def test_a_second_derivative_is_refused(name):
    loss, batch = loss_of(name)
    x = batch[0].clone().requires_grad_()
    # the first is there, with a graph of its own
    (first,) = torch.autograd.grad(loss(x), x, create_graph=True)
    torch.testing.assert_close(first, gradient(loss, x.detach()))
    refused(f"actckpt::{name}{ONCE}", lambda: first.sum().backward())
    x = batch[0]
    refused(ONCE, lambda: grad(lambda x: grad(loss)(x).sum())(x))
    refused(ONCE, lambda: gradient(lambda x: grad(loss)(x).sum(), x))
    refused(ONCE, lambda: jacrev(jacrev(loss))(x))
    refused(ONCE, lambda: torch.autograd.functional.hessian(loss, x))


def test_rope_is_differentiated_twice():
    x = FUNCTIONS["rope"][1][0]
    assert torch.autograd.gradgradcheck(lambda x: rope(x, x.sin(), FREQUENCIES), x.clone().requires_grad_())

    def fourth_powers(rotate):
        return lambda x: torch.cat(rotate(x, x.sin(), FREQUENCIES)).pow(4).sum()

    loss = fourth_powers(rope)
    expected = torch.autograd.functional.hessian(fourth_powers(plain_rope), x)
    torch.testing.assert_close(jacrev(jacrev(loss))(x), expected)
    torch.testing.assert_close(torch.autograd.functional.hessian(loss, x), expected)
    assert torch.autograd.gradgradcheck(grad(loss), x.clone().requires_grad_())


@each_op
def test_forward_mode_is_refused(name):
    loss, batch = loss_of(name)
    x = batch[0]
    for call in (
        lambda: jvp(loss, (x,), (x,)),
        lambda: jacfwd(loss)(x),
        lambda: hessian(loss)(x),
        lambda: linearize(loss, x),
        lambda: jvp(grad(loss), (x,), (x,)),
        lambda: grad(lambda x: jvp(loss, (x,), (x,))[1])(x),
        lambda: vmap(lambda x: jvp(loss, (x,), (x,)))(batch),
    ):
        refused("differentiate in reverse mode", call)
    with forward_ad.dual_level():
        refused("differentiate in reverse mode", lambda: loss(forward_ad.make_dual(x, x)))


def test_forward_mode_through_the_registered_overloads_is_refused():
    x, _ = randn(5, 6), randn(5)
    calls = (
        lambda x: OPS.rms_norm.default(x, WEIGHT, 1e-5),
        lambda x: OPS.rms_norm_backward.default(x, x.detach(), WEIGHT, x.detach().sum(-1)),
        lambda x: OPS.swiglu_backward.default(x, x, x),
    )
    for call in calls:
        call(x)
        refused("differentiate in reverse mode", lambda call=call: jvp(call, (x,), (x,)))


@each_op
def test_compiled_in_one_graph(name):
    loss, batch = loss_of(name)
    x = batch[0]
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    assert torch.equal(gradient(compiled, x), gradient(loss, x))
    assert torch.equal(torch.compile(grad(loss), backend="aot_eager", fullgraph=True)(x), grad(loss)(x))


def test_compiled_autograd():
    loss, batch = loss_of("rms_norm")
    with torch._dynamo.compiled_autograd._enable(torch.compile(backend="aot_eager", fullgraph=True)):
        found = gradient(loss, batch[0])
    assert torch.equal(found, gradient(loss, batch[0]))


def test_the_ops_are_registered_again_without_a_warning():
    """As mkdocs serve does, which imports an edited package in the same process."""
    code = """
import sys, torch
for _ in range(2):
    for name in [name for name in sys.modules if name.split(".")[0] == "actckpt"]:
        del sys.modules[name]
    from actckpt.errors import InputError
    from actckpt.ops import swiglu
x = torch.ones(3)
assert torch.func.grad(lambda x: swiglu(x, x).sum())(x).all()
try:
    swiglu(x, x[:1])
except InputError:
    print("the new ones")
"""
    command = [sys.executable, "-W", "error::UserWarning", "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "the new ones\n"
