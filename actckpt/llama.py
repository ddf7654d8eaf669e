"""A Llama in PyTorch that reads from top to bottom: norm, RoPE, grouped-query attention, SwiGLU, block, model.

Each part of a block that a policy can checkpoint is a method of its own (`actckpt.policy.REGIONS`); `actckpt.apply`
wraps those methods, so that the module tree and the names of the parameters stay what they are.

Shapes: B sequences of S tokens, H the hidden size, n query heads and n_kv key/value heads of width D, F the FFN width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from actckpt.arguments import checked_attention
from actckpt.config import ModelConfig, get_config
from actckpt.errors import InputError
from actckpt.ops import flash_attention, rms_norm, rope, swiglu

INITIAL_STD = 0.02

# what a measurement calls the tensors of ops that run outside the modules of a block
OP_NAMES = {
    "flash_attention": "attention",
    "baddbmm": "attention.scores",
    "_softmax": "attention.softmax",
    "_to_copy": "attention.probabilities",
    "bmm": "attention.output",
    "add": "residual",
    "_log_softmax": "loss.log_probabilities",
    "nll_loss_forward": "loss",
}


class RMSNorm(nn.Module):
    """x / sqrt(mean(x²) + eps) · weight over the last dimension (arXiv 1910.07467, eq. 4); saves x and 1/sqrt(…)."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """`x` of any shape [..., size]."""
        return rms_norm(x, self.weight, self.eps)


def rope_frequencies(config: ModelConfig, device: torch.device | None = None) -> Tensor:
    """The angle by which each pair of a head turns from one position to the next, float32 [D/2].

    θ^(-2i/D) for pair i (arXiv 2104.09864, §3.2). With Llama 3.1's scaling a pair that turns slowly turns `factor`
    times more slowly still, one that turns fast as before, and those between are interpolated.
    """
    pairs = torch.arange(0, config.head_dim, 2, dtype=torch.int64, device=device).float() / config.head_dim
    frequencies = 1.0 / config.rope_theta**pairs
    scaling = config.rope_scaling
    if scaling is None:
        return frequencies
    turns = scaling.original_max_position * frequencies / (2 * math.pi)
    span = scaling.high_freq_factor - scaling.low_freq_factor
    unscaled = ((turns - scaling.low_freq_factor) / span).clamp(0, 1)
    return unscaled * frequencies + (1 - unscaled) * frequencies / scaling.factor


class RoPE(nn.Module):
    """Rotary positions: turns each pair of every head of q and k by an angle that grows with the position."""

    inv_freq: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("inv_freq", rope_frequencies(config), persistent=False)

    def forward(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """`q` [B, S, n, D], `k` [B, S, n_kv, D]."""
        return rope(q, k, self.inv_freq)

    def _apply(self, fn, recurse=True):  # type: ignore[no-untyped-def]
        super()._apply(fn, recurse)
        # a cast to bfloat16 would round the angles of late positions away, and to_empty() would leave none
        self.inv_freq = rope_frequencies(self.config, self.inv_freq.device)
        return self


def eager_attention(q: Tensor, k: Tensor, v: Tensor, window: int | None = None) -> Tensor:
    """Causal attention that writes the scores out: q [B, n, S, D], k and v [B, n_kv, S, D] to [B, n, S, D].

    With a window, query i sees keys i - window + 1 to i; all scores are computed all the same.

    The softmax is taken in float32 and rounded, as Hugging Face's eager attention does: autograd keeps both, 6nS²B
    bytes in bfloat16. The heads that share a key/value head are rows of one matrix, so that none is repeated.
    """
    batch, n, s, d = q.shape
    n_kv = k.shape[1]
    shared = n // n_kv
    hidden = torch.full((s, s), -math.inf, dtype=q.dtype, device=q.device).triu(1)
    if window is not None:
        hidden += torch.full_like(hidden, -math.inf).tril(-window)
    hidden = hidden.repeat(shared, 1)
    # [B·n_kv, n/n_kv·S, D] and [B·n_kv, S, D]
    q = q.reshape(batch * n_kv, shared * s, d)
    k, v = k.reshape(batch * n_kv, s, d), v.reshape(batch * n_kv, s, d)
    # [B·n_kv, n/n_kv·S, S]
    scores = torch.baddbmm(hidden, q, k.transpose(1, 2), alpha=d**-0.5)
    probabilities = torch.softmax(scores.float(), dim=-1).to(q.dtype)
    return torch.bmm(probabilities, v).view(batch, n, s, d)


class LlamaBlock(nn.Module):
    """One block: x + attention(norm(x)), then the same with the FFN.

    Args:
        config: The sizes; a "llama" block.
        attention: "flash", through the package's own op, or "eager".

    Raises:
        InputError: The configuration has another kind of block, or the attention is unknown.

    Attributes:
        components: What a measurement counts a tensor under, by what wrote it.
        starts: The hidden state that a checkpointed method starts from, where it starts from one.
    """

    components: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("input", "norm_1", "residual", "norm_2"), "norm"),
        **dict.fromkeys(("q_proj", "k_proj", "v_proj", "q_norm", "k_norm", "rope", "attention", "o_proj"), "attention"),
        **dict.fromkeys(("gate_proj", "up_proj", "swiglu", "down_proj"), "ffn"),
    }
    starts: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("forward", "attention_half", "attend"), "input"),
        **dict.fromkeys(("ffn_half", "gate_and_up"), "residual"),
    }

    def __init__(self, config: ModelConfig, attention: str = "flash") -> None:
        super().__init__()
        config = get_config(config)
        if config.block != "llama":
            raise InputError(f"{config.name!r} has a {config.block} block: LlamaBlock needs a Llama configuration")
        checked_attention(attention)
        h, ffn, bias = config.hidden_size, config.ffn_size, config.qkv_bias
        self.head_dim, self.sliding_window, self.attention = config.head_dim, config.sliding_window, attention
        self.norm_1 = RMSNorm(h, config.norm_eps)
        self.q_proj = nn.Linear(h, config.q_size, bias=bias)
        self.k_proj = nn.Linear(h, config.kv_size, bias=bias)
        self.v_proj = nn.Linear(h, config.kv_size, bias=bias)
        self.q_norm = RMSNorm(config.head_dim, config.norm_eps) if config.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(config.head_dim, config.norm_eps) if config.qk_norm else nn.Identity()
        self.rope = RoPE(config)
        self.o_proj = nn.Linear(config.q_size, h, bias=False)
        self.norm_2 = RMSNorm(h, config.norm_eps)
        self.gate_proj = nn.Linear(h, ffn, bias=False)
        self.up_proj = nn.Linear(h, ffn, bias=False)
        self.down_proj = nn.Linear(ffn, h, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The residual stream, [B, S, H] to [B, S, H]."""
        x = x + self.attention_half(x)
        return x + self.ffn_half(x)

    def attention_half(self, x: Tensor) -> Tensor:
        """Norm 1 to the o projection, [B, S, H] to [B, S, H]."""
        return self.o_proj(self.attend(x))

    def attend(self, x: Tensor) -> Tensor:
        """Norm 1 to the attention output, [B, S, H] to [B, S, n·D]."""
        x = self.norm_1(x)
        # [B, S, heads, D]
        q, k, v = (proj(x).unflatten(-1, (-1, self.head_dim)) for proj in (self.q_proj, self.k_proj, self.v_proj))
        q, k = self.rope(self.q_norm(q), self.k_norm(k))
        # [B, heads, S, D], views
        o = self.core_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        return o.transpose(1, 2).flatten(2)

    def core_attention(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Scores, softmax and values: q [B, n, S, D], k and v [B, n_kv, S, D] to [B, n, S, D]."""
        if self.attention == "eager":
            return eager_attention(q, k, v, self.sliding_window)
        # keys before the query's own; causality bounds those after it
        window = None if self.sliding_window is None else (self.sliding_window - 1, None)
        return flash_attention(q, k, v, causal=True, window=window)

    def ffn_half(self, x: Tensor) -> Tensor:
        """Norm 2 to the down projection, [B, S, H] to [B, S, H]."""
        return self.swiglu_and_down(*self.gate_and_up(x))

    def gate_and_up(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Norm 2 and the two projections after it, [B, S, H] to twice [B, S, F]."""
        x = self.norm_2(x)
        return self.gate_proj(x), self.up_proj(x)

    def swiglu_and_down(self, gate: Tensor, up: Tensor) -> Tensor:
        """silu(gate) · up and the down projection (arXiv 2002.05202, eq. 6), [B, S, F] to [B, S, H]."""
        return self.down_proj(swiglu(gate, up))


class Llama(nn.Module):
    """Embedding, L blocks, final norm, output projection and, where targets are given, the loss.

    Args:
        model: A name in `PRESETS`, or a configuration.
        attention: "flash" or "eager".

    Attributes:
        components: What a measurement counts a tensor outside the blocks under, by what wrote it.
    """

    components: ClassVar[Mapping[str, str]] = {"norm": "norm", "loss": "logits"}

    def __init__(self, model: str | ModelConfig, attention: str = "flash") -> None:
        super().__init__()
        config = get_config(model)
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(LlamaBlock(config, attention) for _ in range(config.n_layers))
        self.norm = RMSNorm(config.hidden_size, config.norm_eps)
        self.output = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tied_embeddings:
            self.output.weight = self.embedding.weight
        if not self.norm.weight.is_meta:
            self.init_weights()

    def init_weights(self) -> None:
        """Fill every matrix from a normal distribution; to be called after `to_empty()` of a model built on meta."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=INITIAL_STD)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
            if isinstance(module, RMSNorm):
                nn.init.ones_(module.weight)

    def forward(self, tokens: Tensor, targets: Tensor | None = None) -> Tensor:
        """Logits [B, S, V] of `tokens` [B, S]; with `targets` [B, S], the mean cross-entropy in float32.

        Raises:
            InputError: `tokens` has another shape.
        """
        if tokens.dim() != 2:
            raise InputError(f"tokens is {list(tokens.shape)}: it must be [B, S]")
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x)
        logits = self.output(self.norm(x))
        return logits if targets is None else cross_entropy(logits, targets)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean negative log-likelihood of `targets` [B, S] under `logits` [B, S, V], computed in float32."""
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
