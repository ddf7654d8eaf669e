"""The Llama block as autograd sees it: a list of stages, each with the tensors it saves and the FLOPs it runs.

Everything that a policy changes follows from that list. A checkpointed region saves what it reads from outside and what
it is told to keep; in the backward pass its stages run again, up to the last one that saves something.
"""

from __future__ import annotations

from dataclasses import dataclass

from actckpt.config import ModelConfig
from actckpt.formulas.flops import FlopRules, linear_flops, visible_pairs
from actckpt.ledger import Count, Ledger, Term, exact
from actckpt.policy import Policy
from actckpt.step import Flops, Head


@dataclass(frozen=True)
class Stage:
    """One op of the block's forward pass.

    Attributes:
        reads: The tensors it takes, by name.
        writes: The tensors it makes.
        saves: The ones of both that its backward pass needs.
        kind: What a region can keep it by; "add" for the sum of two branches, "" for any other op.
        forward: Its forward FLOPs.
        backward: Its backward FLOPs.
        weights: The number of elements of its weight.
    """

    reads: tuple[str, ...]
    writes: tuple[str, ...]
    saves: tuple[str, ...] = ()
    kind: str = ""
    forward: Count = 0
    backward: Count = 0
    weights: int = 0

    @property
    def must_finish(self) -> bool:
        """Whether it saves something that it writes, so that a recomputation has to run it to its end."""
        return any(tensor in self.saves for tensor in self.writes)


@dataclass(frozen=True)
class Block:
    """A Llama block at one batch size and sequence length, or many.

    Attributes:
        config: The model.
        seq_len: S, in tokens.
        batch_size: B, in sequences.
        attention: "flash" or "eager".
        rules: How FLOPs are counted.
    """

    config: ModelConfig
    seq_len: Count
    batch_size: int
    attention: str
    rules: FlopRules = FlopRules()

    @property
    def tokens(self) -> Count:
        """S·B."""
        return self.seq_len * self.batch_size

    def tensors(self) -> dict[str, tuple[tuple[Count, ...], str]]:
        """Shape and dtype of every tensor of the block, in the order in which they are written."""
        c, s, b = self.config, self.seq_len, self.batch_size
        hidden, rows = ((b, s, c.hidden_size), "bfloat16"), ((b, s), "float32")
        q, k = ((b, s, c.n_heads, c.head_dim), "bfloat16"), ((b, s, c.n_kv_heads, c.head_dim), "bfloat16")
        groups = (b * c.n_kv_heads, c.n_heads // c.n_kv_heads * s)
        flash = self.attention == "flash"
        return {
            "input": hidden,
            "norm_1.output": hidden,
            "norm_1.rstd": rows,
            "q_proj": ((self.tokens, c.q_size), "bfloat16"),
            "k_proj": ((self.tokens, c.kv_size), "bfloat16"),
            "v_proj": ((self.tokens, c.kv_size), "bfloat16"),
            "q_norm.output": q,
            "q_norm.rstd": (q[0][:-1], "float32"),
            "k_norm.output": k,
            "k_norm.rstd": (k[0][:-1], "float32"),
            "rope.q": q,
            "rope.k": k,
            "attention.scores": ((*groups, s), "bfloat16"),
            "attention.float_scores": ((*groups, s), "float32"),
            "attention.softmax": ((*groups, s), "float32"),
            "attention.probabilities": ((*groups, s), "bfloat16"),
            "attention.output": ((b, c.n_heads, s, c.head_dim) if flash else (*groups, c.head_dim), "bfloat16"),
            "attention.lse": ((b, c.n_heads, s), "float32"),
            "o_proj": ((self.tokens, c.hidden_size), "bfloat16"),
            "residual": hidden,
            "norm_2.output": hidden,
            "norm_2.rstd": rows,
            "gate_proj": ((self.tokens, c.ffn_size), "bfloat16"),
            "up_proj": ((self.tokens, c.ffn_size), "bfloat16"),
            "swiglu.product": ((b, s, c.ffn_size), "bfloat16"),
            "down_proj": ((self.tokens, c.hidden_size), "bfloat16"),
            "output": hidden,
        }

    def regions(self) -> dict[str, list[Stage]]:
        """The stages of each region that can be checkpointed; "forward" is the whole block."""
        c = self.config
        core = self._flash() if self.attention == "flash" else self._eager()
        attend = [
            self._norm("input", "norm_1"),
            self._linear("norm_1.output", "q_proj", c.hidden_size, c.q_size),
            self._linear("norm_1.output", "k_proj", c.hidden_size, c.kv_size),
            self._linear("norm_1.output", "v_proj", c.hidden_size, c.kv_size),
            *([self._norm("q_proj", "q_norm"), self._norm("k_proj", "k_norm")] if c.qk_norm else []),
            Stage(("q_norm.output", "k_norm.output") if c.qk_norm else ("q_proj", "k_proj"), ("rope.q", "rope.k")),
            *core,
        ]
        attention_half = [*attend, self._linear("attention.output", "o_proj", c.q_size, c.hidden_size)]
        gate_and_up = [
            self._norm("residual", "norm_2"),
            self._linear("norm_2.output", "gate_proj", c.hidden_size, c.ffn_size),
            self._linear("norm_2.output", "up_proj", c.hidden_size, c.ffn_size),
        ]
        swiglu_and_down = [
            Stage(("gate_proj", "up_proj"), ("swiglu.product",), saves=("gate_proj", "up_proj")),
            self._linear("swiglu.product", "down_proj", c.ffn_size, c.hidden_size),
        ]
        ffn_half = [*gate_and_up, *swiglu_and_down]
        return {
            "forward": [
                *attention_half,
                Stage(("input", "o_proj"), ("residual",), kind="add"),
                *ffn_half,
                Stage(("residual", "down_proj"), ("output",), kind="add"),
            ],
            "attention_half": attention_half,
            "attend": attend,
            "core_attention": core,
            "ffn_half": ffn_half,
            "gate_and_up": gate_and_up,
            "swiglu_and_down": swiglu_and_down,
        }

    def _norm(self, reads: str, name: str) -> Stage:
        output, rstd = f"{name}.output", f"{name}.rstd"
        size = self.config.head_dim if name in ("q_norm", "k_norm") else self.config.hidden_size
        return Stage((reads,), (output, rstd), saves=(reads, rstd), weights=size)

    def _linear(self, reads: str, writes: str, n_in: int, n_out: int) -> Stage:
        flops = linear_flops(self.tokens, n_in, n_out)
        # the gradient of the input and the gradient of the weight: a matmul of the same size each
        return Stage(
            (reads,), (writes,), saves=(reads,), kind="linear", forward=flops, backward=2 * flops, weights=n_in * n_out
        )

    def _matmul_flops(self, pairs: Count) -> Count:
        # of one of the two matmuls of attention, over all heads
        return 2 * self.batch_size * self.config.q_size * pairs

    def _flash(self) -> list[Stage]:
        reads, writes = ("rope.q", "rope.k", "v_proj"), ("attention.output", "attention.lse")
        visible = visible_pairs(self.seq_len, self.config.sliding_window)
        matmul = self._matmul_flops(visible if self.rules.causal else self.seq_len**2)
        n_backward = 5 if self.rules.flash_backward else 4
        return [
            Stage(
                reads, writes, saves=(*reads, *writes), kind="flash", forward=2 * matmul, backward=n_backward * matmul
            )
        ]

    def _eager(self) -> list[Stage]:
        # all scores are computed, those that the mask hides too
        matmul = self._matmul_flops(self.seq_len**2)
        values_reads = ("attention.probabilities", "v_proj")
        return [
            Stage(
                ("rope.q", "rope.k"),
                ("attention.scores",),
                saves=("rope.q", "rope.k"),
                kind="scores",
                forward=matmul,
                backward=2 * matmul,
            ),
            # in float32, as Hugging Face's eager attention has it, and then rounded
            Stage(("attention.scores",), ("attention.float_scores",)),
            Stage(("attention.float_scores",), ("attention.softmax",), saves=("attention.softmax",)),
            Stage(("attention.softmax",), ("attention.probabilities",)),
            Stage(
                values_reads,
                ("attention.output",),
                saves=values_reads,
                kind="values",
                forward=matmul,
                backward=2 * matmul,
            ),
        ]


def region_saves(stages: list[Stage], keeps: tuple[str, ...]) -> set[str]:
    """What a checkpointed region keeps: what it reads from outside, and the outputs of the kinds that it keeps."""
    written = {tensor for stage in stages for tensor in stage.writes}
    read = {tensor for stage in stages for tensor in stage.reads}
    return (read - written) | kept_outputs(stages, keeps)


def kept_outputs(stages: list[Stage], keeps: tuple[str, ...]) -> set[str]:
    """The outputs of the stages whose kind is kept."""
    return {tensor for stage in stages if stage.kind in keeps for tensor in stage.writes}


def stages_run_again(stages: list[Stage], early_stop: bool) -> list[Stage]:
    """The stages that the recomputation of a checkpointed region goes through, those included that it keeps."""
    last = max(index for index, stage in enumerate(stages) if stage.saves)
    if early_stop and not stages[last].must_finish:
        # what a stage reads is saved before it runs, and then nothing is missing any more
        return stages[:last]
    return stages


def region_recompute(stages: list[Stage], keeps: tuple[str, ...], early_stop: bool) -> Count:
    """The FLOPs that the backward pass runs again for a checkpointed region."""
    return sum((stage.forward for stage in stages_run_again(stages, early_stop) if stage.kind not in keeps), start=0)


def llama_ledger(block: Block, policy: Policy) -> Ledger:
    """What one Llama block keeps for its backward pass under a policy.

    Without a policy, with flash attention and in units of S·B·H bytes, it is 12 + 4·n_kv/n + 6·F/H and the float32
    statistics of the norms and the softmax.
    """
    regions = block.regions()
    checkpointed = [(regions[region.name], region.keeps) for region in policy.regions]
    inside = {stage.writes for stages, _ in checkpointed for stage in stages}
    saved = {tensor for stage in regions["forward"] if stage.writes not in inside for tensor in stage.saves}
    saved = saved.union(*(region_saves(stages, keeps) for stages, keeps in checkpointed))
    return Ledger(
        tuple(
            Term(name, policy.component(name), shape, dtype)
            for name, (shape, dtype) in block.tensors().items()
            if name in saved
        )
    )


def llama_flops(block: Block, policy: Policy) -> Flops:
    """The FLOPs of one Llama block in one step under a policy."""
    regions, early_stop = block.regions(), block.rules.early_stop
    recompute: Count = 0 * block.seq_len
    for region in policy.regions:
        recompute = recompute + region_recompute(regions[region.name], region.keeps, early_stop)
    return Flops(
        forward=sum((stage.forward for stage in regions["forward"]), start=0),
        backward=sum((stage.backward for stage in regions["forward"]), start=0),
        recompute=recompute,
    )


def llama_head(config: ModelConfig, seq_len: Count, batch_size: int) -> Head:
    """The final norm, the output projection and a float32 cross-entropy, which keeps the log-probabilities."""
    s, b, h, v = seq_len, batch_size, config.hidden_size, config.vocab_size
    ledger = Ledger(
        (
            Term("norm.input", "norm", (b, s, h), "bfloat16"),
            Term("norm.output", "norm", (b, s, h), "bfloat16"),
            Term("norm.rstd", "norm", (b, s), "float32"),
            Term("loss.log_probabilities", "logits", (s * b, v), "float32"),
            Term("loss.total_weight", "logits", (), "float32"),
        )
    )
    return Head(ledger, exact(3 * linear_flops(s * b, h, v)))
