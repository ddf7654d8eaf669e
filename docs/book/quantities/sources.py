"""The sources of the site: each paper, document and datasheet once, with what is taken from it.

A page cites one by its key: `sources.cite("chen")` in a block, `../reference/sources.md#chen` in Markdown.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Source:
    """Something that was published elsewhere.

    Attributes:
        key: What it is cited by, and its anchor on the page of sources.
        label: How prose names it.
        title: Its title.
        url: Where it is.
        takes: What is taken from it, as a sentence.
        kind: A key of `KINDS`.
        mentions: What names it elsewhere, beside its key and its address.
    """

    key: str
    label: str
    title: str
    url: str
    takes: str
    kind: str
    mentions: tuple[str, ...] = ()

    @property
    def link(self) -> str:
        """The source as a link to where it was published."""
        return f'<a href="{self.url}">{escape(self.label)}</a>'


KINDS = {
    "paper": "Papers",
    "software": "Documentation and source code",
    "hardware": "Datasheets",
    "design": "Design of the pages",
}


def _paper(key: str, authors: str, title: str, arxiv: str, takes: str) -> Source:
    url = f"https://arxiv.org/abs/{arxiv}"
    return Source(key, f"{authors}, arXiv {arxiv}", title, url, takes, "paper", (arxiv,))


_LIST = (
    _paper(
        "chen",
        "Chen et al. 2016",
        "Training Deep Nets with Sublinear Memory Cost",
        "1604.06174",
        "The idea: keep some activations as checkpoints, recompute the segments between them.",
    ),
    _paper(
        "korthikanti",
        "Korthikanti et al. 2022",
        "Reducing Activation Recomputation in Large Transformer Models",
        "2205.05198",
        "The paper's accounting: what each tensor of a GPT block takes, in bytes (§4), selective recomputation (§5), "
        "and the times that it was measured to cost (§6).",
    ),
    _paper(
        "dao",
        "Dao et al. 2022",
        "FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness",
        "2205.14135",
        "Attention by tiles that stay on the chip, and how many bytes it moves (theorem 2).",
    ),
    _paper(
        "dao2",
        "Dao 2023",
        "FlashAttention-2: Faster Attention with Better Parallelism and Work Partitioning",
        "2307.08691",
        "The algorithm of the package's reference and kernels: one log-sum-exp for each row, five products backward.",
    ),
    _paper(
        "milakov",
        "Milakov and Gimelshein 2018",
        "Online normalizer calculation for softmax",
        "1805.02867",
        "The running maximum and the running sum of the online softmax.",
    ),
    _paper(
        "gqa",
        "Ainslie et al. 2023",
        "GQA: Training Generalized Multi-Query Transformer Models from Multi-Head Checkpoints",
        "2305.13245",
        "Query heads that share key/value heads.",
    ),
    _paper(
        "llama3",
        "Grattafiori et al. 2024",
        "The Llama 3 Herd of Models",
        "2407.21783",
        "The sizes of Llama 3.1 (table 3).",
    ),
    _paper(
        "gpt3",
        "Brown et al. 2020",
        "Language Models are Few-Shot Learners",
        "2005.14165",
        "The sizes of GPT-3.",
    ),
    _paper(
        "rope",
        "Su et al. 2021",
        "RoFormer: Enhanced Transformer with Rotary Position Embedding",
        "2104.09864",
        "Rotary positions (§3.2).",
    ),
    _paper("swiglu", "Shazeer 2020", "GLU Variants Improve Transformer", "2002.05202", "SwiGLU (equation 6)."),
    _paper(
        "rmsnorm",
        "Zhang and Sennrich 2019",
        "Root Mean Square Layer Normalization",
        "1910.07467",
        "RMSNorm (equation 4).",
    ),
    _paper(
        "adam",
        "Kingma and Ba 2014",
        "Adam: A Method for Stochastic Optimization",
        "1412.6980",
        "The two moments that the optimizer keeps for each parameter.",
    ),
    _paper(
        "zero",
        "Rajbhandari et al. 2019",
        "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models",
        "1910.02054",
        "How data-parallel ranks share parameters, gradients and optimizer (§5).",
    ),
    Source(
        "checkpoint",
        "PyTorch, torch.utils.checkpoint",
        "torch.utils.checkpoint",
        "https://docs.pytorch.org/docs/stable/checkpoint.html",
        "What apply is sugar over: checkpoints without reentrance, early stop, selective checkpointing.",
        "software",
        ("torch.utils.checkpoint",),
    ),
    Source(
        "flop-counter",
        "PyTorch, flop_counter.py",
        "torch.utils.flop_counter",
        "https://github.com/pytorch/pytorch/blob/main/torch/utils/flop_counter.py",
        "The rules by which FLOPs are counted in every measurement.",
        "software",
        ("FlopCounterMode", "flop_counter"),
    ),
    Source(
        "meta",
        "PyTorch, meta device",
        "Meta device",
        "https://docs.pytorch.org/docs/stable/meta.html",
        "Tensors with a shape and no data, on which measurements run.",
        "software",
        ("meta tensors",),
    ),
    Source(
        "fully-shard",
        "PyTorch, fully_shard",
        "torch.distributed.fsdp.fully_shard",
        "https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html",
        "What the division of the training states over ranks stands for.",
        "software",
        ("fully_shard",),
    ),
    Source(
        "triton",
        "Triton",
        "Triton's documentation",
        "https://triton-lang.org/main/index.html",
        "The language of the kernels, and the interpreter in which they are tested without a GPU.",
        "software",
        ("Triton",),
    ),
    Source(
        "torchtitan",
        "torchtitan, docs/performance.md",
        "Performance of torchtitan",
        "https://github.com/pytorch/torchtitan/blob/041336434916bdc0f88c1f89fda176fd3c2092e4/docs/performance.md",
        "What selective checkpointing by op cost in a real training run.",
        "software",
        ("torchtitan",),
    ),
    Source(
        "megatron",
        "Megatron-LM, transformer_config.py",
        "Configuration of a transformer in Megatron Core",
        "https://github.com/NVIDIA/Megatron-LM/blob/main/megatron/core/transformer/transformer_config.py",
        "What Megatron recomputes, by default and in its selective mode.",
        "software",
        ("Megatron",),
    ),
    Source(
        "hugging-face",
        "Hugging Face, gradient checkpointing",
        "Gradient checkpointing in Transformers",
        "https://huggingface.co/docs/transformers/main/en/grad_checkpointing",
        "What Hugging Face's models recompute; and the config.json whose sizes are read.",
        "software",
        ("Hugging Face",),
    ),
    Source(
        "maxtext",
        "MaxText, base.yml",
        "Default configuration of MaxText",
        "https://github.com/AI-Hypercomputer/maxtext/blob/main/src/maxtext/configs/base.yml",
        "What MaxText recomputes by default.",
        "software",
        ("MaxText",),
    ),
    Source(
        "a100",
        "NVIDIA A100 datasheet",
        "NVIDIA A100 Tensor Core GPU",
        "https://www.nvidia.com/content/dam/en-zz/Solutions/Data-Center/a100/pdf/nvidia-a100-datasheet-us-nvidia-1758950-r4-web.pdf",
        "Memory, bandwidth and matmul rate of A100.",
        "hardware",
    ),
    Source(
        "h100",
        "NVIDIA H100 datasheet",
        "NVIDIA H100 Tensor Core GPU",
        "https://www.nvidia.com/en-us/data-center/h100/",
        "Memory, bandwidth and matmul rate of H100.",
        "hardware",
    ),
    Source(
        "h200",
        "NVIDIA H200 datasheet",
        "NVIDIA H200 Tensor Core GPU",
        "https://www.nvidia.com/en-us/data-center/h200/",
        "Memory, bandwidth and matmul rate of H200.",
        "hardware",
    ),
    Source(
        "blackwell",
        "NVIDIA Blackwell architecture brief",
        "NVIDIA Blackwell architecture",
        "https://resources.nvidia.com/en-us-blackwell-architecture",
        "Memory, bandwidth and matmul rate of B200.",
        "hardware",
    ),
    Source(
        "ampere",
        "Abdelkhalik et al. 2022, arXiv 2208.11174",
        "Demystifying the Nvidia Ampere Architecture through Microbenchmarking and Instruction-level Analysis",
        "https://arxiv.org/abs/2208.11174",
        "How long A100 takes to read from each of its memories.",
        "hardware",
        ("2208.11174",),
    ),
    Source(
        "cuda",
        "CUDA C++ programming guide",
        "CUDA C++ Programming Guide: compute capabilities",
        "https://docs.nvidia.com/cuda/cuda-c-programming-guide/index.html#compute-capabilities",
        "What cache and shared memory a streaming multiprocessor has, and how much of it one thread block can take.",
        "hardware",
    ),
    Source(
        "okabe-ito",
        "Okabe and Ito",
        "Color Universal Design",
        "https://jfly.uni-koeln.de/color/",
        "The palette: eight colours that the colour-blind can tell apart.",
        "design",
    ),
)

SOURCES: dict[str, Source] = {source.key: source for source in _LIST}


def cite(key: str) -> str:
    """A source as a link to its entry on the page of sources."""
    return f'<a href="@/reference/sources/#{key}">{escape(SOURCES[key].label)}</a>'
