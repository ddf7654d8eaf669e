"""What the ops refuse, in one line: the public functions and the registered overloads, of every kind of tensor."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from kernels.ops_cases import as_tuple
from torch._subclasses import FakeTensorMode

from actckpt.errors import InputError
from actckpt.ops import flash_attention, rms_norm, rope, swiglu

OPS = torch.ops.actckpt

# each call is right but for the change that a test makes
X, ROWS, WEIGHT = torch.ones(2, 8), torch.ones(2), torch.ones(8)
HEADS, FREQUENCIES = torch.ones(1, 3, 2, 8), torch.ones(4)
QUERIES, ROW_SUMS = torch.ones(1, 2, 3, 16), torch.ones(1, 2, 3)
RIGHT = {
    "rms_norm": {"x": X, "weight": WEIGHT, "eps": 1e-5, "impl": "auto"},
    "rms_norm_backward": {"d_output": X, "x": X, "weight": WEIGHT, "rstd": ROWS, "impl": "auto"},
    "rope": {"q": HEADS, "k": HEADS, "inv_freq": FREQUENCIES, "impl": "auto"},
    "swiglu": {"gate": X, "up": X, "impl": "auto"},
    "swiglu_backward": {"d_product": X, "gate": X, "up": X, "impl": "auto"},
    "flash_attention": {"q": QUERIES, "k": QUERIES, "v": QUERIES, "causal": True, "scale": 0.25, "impl": "auto"},
    "flash_attention_backward": {
        **dict.fromkeys(("do", "q", "k", "v", "o"), QUERIES),
        "lse": ROW_SUMS,
        "dlse": ROW_SUMS,
        "causal": True,
        "scale": 0.25,
        "impl": "auto",
    },
}
PUBLIC = {"rms_norm": rms_norm, "rope": rope, "swiglu": swiglu, "flash_attention": flash_attention}
EACH_TENSOR = [
    (name, argument)
    for name, arguments in RIGHT.items()
    for argument, value in arguments.items()
    if isinstance(value, torch.Tensor)
]
each_tensor = pytest.mark.parametrize(("name", "argument"), EACH_TENSOR)


def call(name, on=lambda x: x, public=False, **change):
    """The registered overload, or the public function, with its tensors moved."""
    arguments = {key: on(x) if isinstance(x, torch.Tensor) else x for key, x in (RIGHT[name] | change).items()}
    if not public:
        return getattr(OPS, name).default(*arguments.values())
    positional = [value for key, value in arguments.items() if key not in ("impl", "causal", "scale")]
    return PUBLIC[name](*positional, impl=arguments["impl"])


def refused(match, *arguments, **options):
    with pytest.raises(InputError, match=match) as error:
        call(*arguments, **options)
    assert "\n" not in str(error.value)


def test_every_registered_op_is_here():
    names = (name.split("::") for name in torch._C._dispatch_get_all_op_names())
    assert {name for namespace, name in names if namespace == "actckpt"} == RIGHT.keys()


BAD = [
    ("rms_norm", {"weight": WEIGHT[:7]}, r"weight has shape \[7\]: it must be \[8\]"),
    ("rms_norm", {"weight": WEIGHT[:1]}, r"weight has shape \[1\]"),
    ("rms_norm", {"x": X[:, :0], "weight": WEIGHT[:0]}, r"x is \[2, 0\]: .* at least one number"),
    ("rms_norm", {"x": X[0, 0], "weight": WEIGHT[0]}, r"x is \[\]"),
    ("rms_norm", {"eps": -1.0}, "eps is -1.0: it must be at least 0"),
    ("rms_norm", {"eps": math.nan}, "eps is nan"),
    ("rms_norm", {"eps": math.inf}, "eps is inf"),
    ("rms_norm_backward", {"x": X[:, :0], "d_output": X[:, :0], "weight": WEIGHT[:0]}, r"x is \[2, 0\]"),
    ("rms_norm_backward", {"weight": WEIGHT[:1]}, r"weight has shape \[1\]"),
    ("rms_norm_backward", {"d_output": X[0]}, r"d_output is \[8\] .* it must be \[2, 8\]"),
    ("rms_norm_backward", {"d_output": X.double()}, r"d_output is \[2, 8\] torch.float64: .* torch.float32"),
    ("rms_norm_backward", {"rstd": ROWS[:1]}, r"rstd is \[1\] .* it must be \[2\]"),
    ("rms_norm_backward", {"rstd": ROWS[:, None]}, r"rstd is \[2, 1\]"),
    ("rms_norm_backward", {"rstd": ROWS.half()}, "rstd is .* torch.float16: .* torch.float32"),
    ("rope", {"q": HEADS[0]}, r"q is \[3, 2, 8\]"),
    ("rope", {"k": torch.ones(1, 4, 2, 8)}, r"k is \[1, 4, 2, 8\]"),
    ("rope", {"k": HEADS[:, :1]}, r"k is \[1, 1, 2, 8\]"),
    ("rope", {"k": HEADS.double()}, "of one type"),
    ("rope", {"q": HEADS[..., :7], "k": HEADS[..., :7]}, "the head dimension is 7: it must be even"),
    ("rope", {"q": HEADS[..., :0], "k": HEADS[..., :0], "inv_freq": FREQUENCIES[:0]}, "the head dimension is 0"),
    ("rope", {"inv_freq": torch.ones(8)}, r"inv_freq is \[8\] .* it must be \[4\]"),
    ("rope", {"inv_freq": FREQUENCIES[None]}, r"inv_freq is \[1, 4\]"),
    ("rope", {"inv_freq": FREQUENCIES.double()}, "inv_freq is .* torch.float64: .* torch.float32"),
    ("rope", {"inv_freq": FREQUENCIES.bfloat16()}, "inv_freq is .* torch.bfloat16"),
    ("swiglu", {"up": X[:1]}, r"up is \[1, 8\]"),
    ("swiglu", {"gate": X.half()}, "one shape and one type"),
    ("swiglu_backward", {"up": X[:1]}, r"up is \[1, 8\]"),
    ("swiglu_backward", {"d_product": X[:1]}, r"d_product is \[1, 8\] .* it must be \[2, 8\]"),
    ("swiglu_backward", {"d_product": X.half()}, "d_product is .* torch.float16"),
    ("flash_attention", {"v": QUERIES[:, :, :2]}, r"v is \[1, 2, 2, 16\]"),
    ("flash_attention_backward", {"do": QUERIES[:, :1]}, r"do is \[1, 1, 3, 16\] .* it must be \[1, 2, 3, 16\]"),
    ("flash_attention_backward", {"lse": ROW_SUMS.half()}, "lse is .* torch.float16"),
]


@pytest.mark.parametrize(("name", "change", "match"), BAD)
def test_bad_input_is_one_clear_error(name, change, match):
    call(name)
    refused(match, name, **change)
    refused(match, name, on=lambda x: x.to("meta"), **change)
    fake = FakeTensorMode(allow_non_fake_inputs=False)
    with fake:
        refused(match, name, on=fake.from_tensor, **change)
    with torch.inference_mode():
        refused(match, name, on=torch.clone, **change)
    if name in PUBLIC:
        call(name, public=True)
        refused(match, name, public=True, **change)


@each_tensor
def test_what_is_no_dense_tensor_of_floats_is_refused(name, argument):
    right = RIGHT[name][argument]
    for dtype in (torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn):
        refused(f"{argument} is {dtype}: .* floating-point", name, **{argument: right.to(dtype)})
    refused(f"{argument} is laid out as torch.sparse_coo", name, **{argument: right.to_sparse()})
    refused("is nested", name, **{argument: torch.nested.nested_tensor([X], layout=torch.jagged)})
    refused(f"{argument} is on meta.*one device", name, **{argument: right.to("meta")})
    # the dispatcher takes None for a tensor
    if argument != "dlse":
        refused(f"{argument} is None: it must be a tensor", name, **{argument: None})


@pytest.mark.parametrize(("name", "argument"), [pair for pair in EACH_TENSOR if pair[0] in PUBLIC])
def test_what_is_no_tensor_is_refused_by_the_public_functions(name, argument):
    for value, kind in ((None, "None"), ([1.0], "a list"), (np.ones(8), "a ndarray"), (1.0, "1.0")):
        refused(f"{argument} is {kind}: it must be a tensor", name, public=True, **{argument: value})


@pytest.mark.parametrize("name", RIGHT)
def test_an_unknown_impl_is_refused(name):
    refused("unknown impl 'bogus': use one of auto, triton, reference", name, impl="bogus")
    refused("unknown impl ''", name, impl="")
    refused("impl is 'triton'", name, impl="triton")
    if name in PUBLIC:
        refused("unknown impl 'Triton': did you mean 'triton'", name, public=True, impl="Triton")
        for value, shown in (
            (None, "None"),
            (1, "1"),
            (b"auto", "a bytes"),
            (10**5000, "a whole number of 16610 bits"),
        ):
            refused(f"impl is {shown}: it must be a name", name, public=True, impl=value)


@pytest.mark.parametrize("eps", [None, True, "1e-5", torch.tensor(1e-5), 1j, [1e-5]])
def test_eps_is_a_number(eps):
    refused("eps is .*: it must be a number", "rms_norm", public=True, eps=eps)


def test_eps_is_as_large_as_a_float_at_most():
    refused("eps is inf", "rms_norm", public=True, eps=10**5000)
    refused("eps is -inf", "rms_norm", public=True, eps=-(10**400))
    assert torch.equal(rms_norm(X, WEIGHT, 1), rms_norm(X, WEIGHT, np.float32(1)))


@pytest.mark.parametrize(
    ("name", "change", "outputs", "gradients"),
    [
        ("rms_norm", {"x": X[:0]}, [(0, 8)], {"x": (0, 8), "weight": (8,)}),
        ("rope", {"q": HEADS[:0], "k": HEADS[:0]}, [(0, 3, 2, 8)] * 2, {"q": (0, 3, 2, 8), "k": (0, 3, 2, 8)}),
        ("rope", {"q": HEADS[:, :, :0]}, [(1, 3, 0, 8), (1, 3, 2, 8)], {"q": (1, 3, 0, 8), "k": (1, 3, 2, 8)}),
        ("swiglu", {"gate": X[:, :0], "up": X[:, :0]}, [(2, 0)], {"gate": (2, 0), "up": (2, 0)}),
        ("swiglu", {"gate": X[0, 0], "up": X[0, 0]}, [()], {"gate": (), "up": ()}),
    ],
)
def test_nothing_in_a_batch_is_fine(name, change, outputs, gradients):
    change = change | {key: (RIGHT[name] | change)[key].clone().requires_grad_() for key in gradients}
    found = as_tuple(call(name, public=True, **change))
    assert [x.shape for x in found] == outputs
    sum(x.sum() for x in found).backward()
    assert {key: change[key].grad.shape for key in gradients} == gradients
