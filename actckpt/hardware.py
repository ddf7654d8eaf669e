"""Accelerator: what a GPU has, for the question whether a training step fits and what bounds it."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 2**30
GB = 10**9
REGISTER_BYTES = 64 * 1024 * 4
"""The register file of one streaming multiprocessor: 64K registers of 32 bits on all of `ACCELERATORS` (CUDA C++
programming guide, technical specifications by compute capability)."""


@dataclass(frozen=True)
class Accelerator:
    """A GPU as its datasheet describes it, with the memory that its driver reports.

    Attributes:
        name: The key in `ACCELERATORS`.
        label: How a figure names it.
        datasheet_bytes: Memory on the package, as it is sold: in GB of 10^9 bytes.
        memory_bytes: What the driver reports as total (`nvidia-smi`), of which the CUDA context takes some hundred MiB
            and a framework's libraries as much again.
        bandwidth: To that memory, bytes a second.
        bf16_flops: Dense bfloat16 matmul rate of the tensor cores, FLOPs a second.
        n_sms: The number of streaming multiprocessors.
        sram_bytes: L1 cache and shared memory of one streaming multiprocessor.
        shared_bytes: The part of it that one thread block can take as shared memory.
        source: Where the figures come from.
        l2_bytes: The L2 cache that all streaming multiprocessors share, if a source states it.
    """

    name: str
    label: str
    datasheet_bytes: int
    memory_bytes: int
    bandwidth: float
    bf16_flops: float
    n_sms: int
    sram_bytes: int
    shared_bytes: int
    source: str
    l2_bytes: int | None = None

    @property
    def total_sram_bytes(self) -> int:
        """L1 cache and shared memory of all streaming multiprocessors."""
        return self.n_sms * self.sram_bytes

    @property
    def balance(self) -> float:
        """The FLOPs that the tensor cores can run while one byte comes from memory."""
        return self.bf16_flops / self.bandwidth


_KIB = 2**10
_MIB = 2**20

ACCELERATORS: dict[str, Accelerator] = {
    accelerator.name: accelerator
    for accelerator in (
        Accelerator(
            name="a100-40gb",
            label="A100 40 GB",
            datasheet_bytes=40 * GB,
            memory_bytes=40_960 * _MIB,
            bandwidth=1.555e12,
            bf16_flops=312e12,
            n_sms=108,
            sram_bytes=192 * _KIB,
            shared_bytes=163 * _KIB,
            source="NVIDIA A100 datasheet and whitepaper; CUDA C++ programming guide, compute capability 8.0",
            l2_bytes=40 * _MIB,
        ),
        Accelerator(
            name="a100-80gb",
            label="A100 80 GB",
            datasheet_bytes=80 * GB,
            memory_bytes=81_920 * _MIB,
            bandwidth=2.039e12,
            bf16_flops=312e12,
            n_sms=108,
            sram_bytes=192 * _KIB,
            shared_bytes=163 * _KIB,
            source="NVIDIA A100 datasheet (SXM) and whitepaper; CUDA C++ programming guide, compute capability 8.0",
            l2_bytes=40 * _MIB,
        ),
        Accelerator(
            name="h100-80gb",
            label="H100 80 GB",
            datasheet_bytes=80 * GB,
            memory_bytes=81_559 * _MIB,
            bandwidth=3.35e12,
            bf16_flops=989e12,
            n_sms=132,
            sram_bytes=256 * _KIB,
            shared_bytes=227 * _KIB,
            source="NVIDIA H100 datasheet (SXM) and whitepaper; CUDA C++ programming guide, compute capability 9.0",
            l2_bytes=50 * _MIB,
        ),
        Accelerator(
            name="h200-141gb",
            label="H200 141 GB",
            datasheet_bytes=141 * GB,
            memory_bytes=143_771 * _MIB,
            bandwidth=4.8e12,
            bf16_flops=989e12,
            n_sms=132,
            sram_bytes=256 * _KIB,
            shared_bytes=227 * _KIB,
            source="NVIDIA H200 datasheet (SXM); CUDA C++ programming guide, compute capability 9.0",
        ),
        Accelerator(
            name="b200-192gb",
            label="B200 192 GB",
            datasheet_bytes=192 * GB,
            memory_bytes=183_359 * _MIB,
            bandwidth=8.0e12,
            bf16_flops=2250e12,
            n_sms=148,
            sram_bytes=256 * _KIB,
            shared_bytes=227 * _KIB,
            source="NVIDIA Blackwell architecture brief; CUDA C++ programming guide, compute capability 10.0",
        ),
    )
}
