from dataclasses import replace

import actckpt
from actckpt import Policy, Region

mine = Policy("mine", "the SwiGLU product alone", (Region("swiglu_and_down"),))
config = replace(actckpt.PRESETS["llama-3.1-8b"], n_layers=2)
none, step = (actckpt.measure(config, seq_len=4096, policy=policy) for policy in ("none", mine))
gone = {term.name for term in none.block} - {term.name for term in step.block}
print(f"without {', '.join(gone)}: {1 - step.total_bytes / none.total_bytes:.1%} saved")
print(f"{step.flops.overhead:.1%} more FLOPs")
