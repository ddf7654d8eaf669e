"""The glossary: each word of the site with one meaning, and where it is used."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape

from actckpt.hardware import GB, GIB
from book.quantities import sources

# another word, and what its plural adds
LINK = re.compile(r"\[\[([^]]+)\]\](\w*)")


@dataclass(frozen=True)
class Word:
    """A word.

    Attributes:
        name: As prose writes it.
        meaning: What it means here; `code` in backticks, [[another word]] in double brackets.
        page: Where it is used, as an address from the site's root with the title in front: "Title|address".
        source: The key of a source, or "".
    """

    name: str
    meaning: str
    page: str = ""
    source: str = ""

    @property
    def anchor(self) -> str:
        """Its id on the page."""
        return _anchor(self.name)


ACTIVATIONS = "What activations are|workshop/activations/"
TRAINING = "Training memory|workshop/training-memory/"
RECOMPUTATION = "Recomputation|workshop/recomputation/"
LENGTHS = "Memory over sequence length|workshop/memory-over-sequence-length/"
COST = "Compute cost|workshop/compute-cost/"
FIRST = "Attention first?|workshop/attention-first/"
FLASH = "Flash attention|workshop/flash-attention/"
FORMULA = "Formula against measurement|evidence/formula-against-measurement/"
TINY = "Train a tiny Llama|labs/tiny-llama/"
TILES = "Flash attention, tile by tile|labs/flash-attention/"
API = "API|reference/api/"
COMMANDS = "Command line|reference/command-line/"

WORDS = (
    Word(
        "accounting",
        "A way to count what a block saves: the workshop's, the paper's, or that of the real Llama block.",
        LENGTHS,
    ),
    Word(
        "activation",
        "A tensor that the forward pass computes. It takes memory beyond its own moment only where it is a "
        "[[saved tensor]].",
        ACTIVATIONS,
    ),
    Word(
        "activation checkpointing",
        "Not keeping all that the backward pass needs, but computing some of it again from [[checkpoint]]s. Also "
        "called gradient checkpointing and activation recomputation.",
        RECOMPUTATION,
        "chen",
    ),
    Word("backward pass", "The half of a step that computes gradients, from the loss back to the first layer.", COST),
    Word("batch size", "B: how many sequences one rank works on in one step.", ACTIVATIONS),
    Word(
        "block",
        "One layer of the model: norm, attention, norm, FFN, each half added to the residual stream.",
        ACTIVATIONS,
    ),
    Word(
        "checkpoint",
        "A tensor that is kept so that a region can be run again from it. In a Llama block it is the region's input. A "
        "file with a model's weights is another thing, and is not meant here.",
        RECOMPUTATION,
        "checkpoint",
    ),
    Word(
        "component",
        "What a saved tensor is counted under: attention, FFN, norm or checkpoint; logits for the [[head]].",
        ACTIVATIONS,
    ),
    Word(
        "core attention",
        "Scores, softmax and values: attention without its projections.",
        FIRST,
        "korthikanti",
    ),
    Word(
        "data parallel",
        "Several [[rank]]s that each train on data of their own. Here they also share the [[state]]s.",
        TRAINING,
        "zero",
    ),
    Word(
        "eager attention",
        "Attention that writes its scores out, so that matrices of S × S are saved.",
        FLASH,
    ),
    Word(
        "early stop",
        "A recomputation ends as soon as the last tensor that the backward pass asks for is there. What comes after it "
        "in the region, as a rule a matrix product, is not run again.",
        COST,
        "checkpoint",
    ),
    Word(
        "FFN",
        "The feed-forward network of a block: two matrices in GPT, three in Llama ([[SwiGLU]]). F is its width.",
        ACTIVATIONS,
    ),
    Word(
        "flash attention",
        "Attention that computes its scores tile by tile on the chip, never writes them down, and computes them again "
        "in the backward pass.",
        FLASH,
        "dao2",
    ),
    Word(
        "FLOP",
        "One floating-point operation; a multiplication and an addition are two. Counted are those of matrix products, "
        "as PyTorch counts them.",
        COST,
        "flop-counter",
    ),
    Word(
        "FSDP",
        "Fully sharded data parallel: each rank holds a share of every [[state]] and fetches the rest when it is "
        "needed. In PyTorch, `fully_shard`.",
        TRAINING,
        "fully-shard",
    ),
    Word("GB", f"{GB:,} bytes: how cards are sold and bandwidths are given.", TRAINING),
    Word("GiB", f"{GIB:,} bytes, 2³⁰: how memory is counted.", TRAINING),
    Word(
        "GQA",
        "Grouped-query attention: several query heads share one head of keys and values, so that fewer are saved.",
        ACTIVATIONS,
        "gqa",
    ),
    Word("HBM", "The memory beside the chip of a GPU: large, and slow when measured by its tensor cores.", FLASH),
    Word(
        "head",
        "Of attention: one of n parts that attend separately. Of the model: what comes after the blocks, which is the "
        "final norm, the output projection and the loss.",
        TRAINING,
    ),
    Word("hidden size", "H: the width of the residual stream.", ACTIVATIONS),
    Word("ledger", "A list of named tensors with their bytes: what a formula and a measurement both give.", FORMULA),
    Word("logits", "The scores of all words of the vocabulary, for each token: the head's largest tensor.", TRAINING),
    Word(
        "lse",
        "Log-sum-exp: the natural logarithm of the sum of the exponentials of a row of scores. All that flash "
        "attention keeps of the row.",
        TILES,
        "dao2",
    ),
    Word(
        "meta tensor",
        "A tensor with a shape and no data. Ops on it allocate nothing and compute nothing, and autograd saves what it "
        "would save.",
        FORMULA,
        "meta",
    ),
    Word("MHA", "Multi-head attention: each query head has keys and values of its own.", ACTIVATIONS),
    Word("MQA", "Multi-query attention: all query heads share one head of keys and values.", ACTIVATIONS, "gqa"),
    Word(
        "online softmax",
        "A softmax over a row that is met piece by piece: with a running maximum, a running sum, and a rescaling when "
        "the maximum grows.",
        TILES,
        "milakov",
    ),
    Word(
        "overhead",
        "What is recomputed, as a share of what a step without recomputation computes.",
        COST,
    ),
    Word(
        "peak",
        "The most memory that is in use at any moment of a step: [[state]]s, what is saved, and the [[working set]].",
        TRAINING,
    ),
    Word("policy", "A rule that says what a block recomputes. `actckpt policies` lists those with a name.", COMMANDS),
    Word(
        "rank",
        "One process of a training run, with one GPU.",
        TRAINING,
    ),
    Word(
        "recompute",
        "To run a part of the forward pass a second time, in the backward pass, because what it gave was not kept.",
        RECOMPUTATION,
    ),
    Word("region", "The part of a block that one checkpoint covers.", RECOMPUTATION),
    Word(
        "residual stream",
        "The hidden state that runs through all blocks, and to which each half of a block adds.",
        ACTIVATIONS,
    ),
    Word("RMSNorm", "The norm of Llama: divides by the root of the mean square.", ACTIVATIONS, "rmsnorm"),
    Word(
        "RoPE",
        "Rotary positions: queries and keys turned by an angle that grows with the position.",
        ACTIVATIONS,
        "rope",
    ),
    Word(
        "saved tensor",
        "A tensor that autograd keeps from the forward to the backward pass. Parameters are not counted among them.",
        FORMULA,
    ),
    Word(
        "SBH",
        "S · B · H, the number of elements of one hidden state. Bytes for each SBH compare blocks of different sizes.",
        ACTIVATIONS,
        "korthikanti",
    ),
    Word(
        "selective checkpointing",
        "Recomputing some ops of a region and keeping the outputs of others. In PyTorch a policy decides op by op; in "
        "Megatron it means [[core attention]].",
        FIRST,
        "checkpoint",
    ),
    Word("sequence length", "S: how many tokens a sequence has.", LENGTHS),
    Word(
        "SM", "Streaming multiprocessor: one of the many processors of a GPU, with [[SRAM]] of its own.", FLASH, "cuda"
    ),
    Word(
        "SRAM",
        "The memory on the chip: fast and small. Here the L1 cache and shared memory of one [[SM]].",
        FLASH,
        "cuda",
    ),
    Word(
        "state",
        "Parameters, gradients and the optimizer's moments: what is in memory whatever the batch.",
        TRAINING,
        "adam",
    ),
    Word(
        "step",
        "One forward pass, one backward pass and one update of the parameters.",
        TRAINING,
    ),
    Word("SwiGLU", "The FFN of Llama: one matrix gates another, and a third leads back.", ACTIVATIONS, "swiglu"),
    Word("tile", "A piece of a matrix that fits into SRAM.", TILES, "dao"),
    Word(
        "working set",
        "What the backward pass allocates beside what was saved for it, at the moment that needs most: gradients of "
        "activations, and the block that is being rebuilt.",
        TRAINING,
    ),
)


def words() -> str:
    """All words in alphabetical order, after a line that leads to each."""
    ordered = sorted(WORDS, key=lambda word: word.name.lower())
    index = " · ".join(f'<a href="#{word.anchor}">{escape(word.name)}</a>' for word in ordered)
    entries = "".join(_entry(word) for word in ordered)
    return f'<p class="ac-index">{index}</p><dl class="ac-glossary">{entries}</dl>'


def _entry(word: Word) -> str:
    links = []
    if word.page:
        title, _, address = word.page.partition("|")
        links.append(f'<a href="@/{address}">{escape(title)}</a>')
    if word.source:
        links.append(sources.cite(word.source))
    return (
        f'<dt id="{word.anchor}">{escape(word.name)}</dt>'
        f'<dd>{_prose(word.meaning)} <span class="ac-seen">{" · ".join(links)}</span></dd>'
    )


def _prose(meaning: str) -> str:
    code = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(meaning))
    numbers = re.sub(r"\d[\d,]+ bytes", lambda match: f'<span class="ac-n">{match[0]}</span>', code)
    return LINK.sub(lambda match: f'<a href="#{_anchor(match[1])}">{match[1]}{match[2]}</a>', numbers)


def _anchor(name: str) -> str:
    return re.sub(r"\W+", "-", name.lower())
