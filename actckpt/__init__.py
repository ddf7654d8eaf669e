"""actckpt: what activation checkpointing saves and what it costs, computed, measured and applied.

`import actckpt` needs numpy alone. The names that need torch load it when they are first touched.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from actckpt.blocks.block import FlopRules
from actckpt.config import PRESETS, ModelConfig
from actckpt.errors import InputError
from actckpt.formulas import ACCOUNTINGS, accounting_policies, estimate, sweep
from actckpt.hardware import ACCELERATORS, Accelerator
from actckpt.policy import POLICIES, Policy, Region
from actckpt.states import OPTIMIZERS, Optimizer
from actckpt.step import Step
from actckpt.terms import Ledger, Term

if TYPE_CHECKING:
    from actckpt.checkpointing import apply
    from actckpt.llama import Llama, LlamaBlock
    from actckpt.measurement import measure
    from actckpt.ops.attention import flash_attention
    from actckpt.recording.ledger import ledger
    from actckpt.recording.saved import Saved, SavedLedger

__version__ = "0.1.0"

__all__ = [
    "ACCELERATORS",
    "ACCOUNTINGS",
    "OPTIMIZERS",
    "POLICIES",
    "PRESETS",
    "Accelerator",
    "FlopRules",
    "InputError",
    "Ledger",
    "Llama",
    "LlamaBlock",
    "ModelConfig",
    "Optimizer",
    "Policy",
    "Region",
    "Saved",
    "SavedLedger",
    "Step",
    "Term",
    "accounting_policies",
    "apply",
    "estimate",
    "flash_attention",
    "ledger",
    "measure",
    "sweep",
]

_NEED_TORCH = {
    "apply": "actckpt.checkpointing",
    "Llama": "actckpt.llama",
    "LlamaBlock": "actckpt.llama",
    "measure": "actckpt.measurement",
    "ledger": "actckpt.recording.ledger",
    "Saved": "actckpt.recording.saved",
    "SavedLedger": "actckpt.recording.saved",
    "flash_attention": "actckpt.ops.attention",
}


def __getattr__(name: str) -> Any:
    if name not in _NEED_TORCH:
        raise AttributeError(f"module 'actckpt' has no attribute {name!r}")
    try:
        return getattr(import_module(_NEED_TORCH[name]), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ModuleNotFoundError(
            f"actckpt.{name} needs PyTorch: pip install 'actckpt[torch]'", name=error.name
        ) from error


def __dir__() -> list[str]:
    # help() touches every name
    return [name for name in __all__ if name not in _NEED_TORCH or find_spec("torch")]
