"""How fast `measure` is, and how it compares with `torch.distributed._tools.mem_tracker.MemTracker`.

python scripts/bench_measure.py [--model NAME] [--seq-len S] [--layers N]

First the whole model is measured, in a process that has done nothing else. Then one training step of `--layers` of its
blocks is watched by both, on meta tensors, and their peaks are compared. MemTracker walks through all modules at every
op, so that its time grows with the square of the number of layers.

Everything runs in one thread, and times are processor time: other work on the machine does not change them much.
"""

import argparse
import resource
import sys
import time
from dataclasses import replace

import torch
from torch.distributed._tools.mem_tracker import MemTracker

from actckpt import PRESETS, Llama, apply, measure
from actckpt.measurement import measure_step

MAX_SECONDS, MAX_RSS_BYTES, MIN_RATIO = 3.0, 1.5e9, 50.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="llama-3.1-405b", choices=[m for m in PRESETS if m.startswith("llama")])
    parser.add_argument("--seq-len", type=int, default=8192, metavar="S")
    parser.add_argument("--policy", default="none", metavar="P")
    parser.add_argument("--layers", type=int, default=104, metavar="N", help="blocks for the comparison (default: 104)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = PRESETS[options.model]

    start = time.process_time()
    step = measure(config, seq_len=options.seq_len, policy=options.policy)
    whole_s, rss_bytes = time.process_time() - start, peak_rss_bytes()
    assert len(step.layers) == config.n_layers

    config = replace(config, n_layers=options.layers)
    with torch.device("meta"):
        model = apply(Llama(config).to(torch.bfloat16), options.policy)
        tokens, targets = (torch.zeros(1, options.seq_len, dtype=torch.int64) for _ in range(2))
        # gradients that are there already are added to in place: neither tool counts one twice
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
    start = time.process_time()
    ours = measure_step(model, tokens, targets, options.policy).working_bytes
    ours_s = time.process_time() - start
    start = time.process_time()
    theirs = tracked_peak(model, tokens, targets)
    theirs_s = time.process_time() - start
    ours += 2 * sum(p.nbytes for p in model.parameters()) + sum(b.nbytes for b in model.buffers())

    lines = [
        ("measure, all layers", f"{len(step.layers)} layers, S = {options.seq_len}", "limit"),
        ("  time after import", f"{whole_s:.2f} s", f"{MAX_SECONDS:.0f} s"),
        ("  peak resident memory", f"{rss_bytes / 1e9:.2f} GB", f"{MAX_RSS_BYTES / 1e9:.1f} GB"),
        ("one step of the same model", f"{options.layers} layers, S = {options.seq_len}", ""),
        ("  measure_step", f"{ours_s:.2f} s", ""),
        ("  MemTracker", f"{theirs_s:.2f} s", ""),
        ("  ratio", f"{theirs_s / ours_s:.0f} ×", f"{MIN_RATIO:.0f} ×"),
        ("  peak, measure_step", f"{ours:,} bytes", ""),
        ("  peak, MemTracker", f"{theirs:,} bytes", "the same"),
    ]
    print(f"{options.model}, policy {options.policy}, torch {torch.__version__}, one thread")
    for name, value, limit in lines:
        print(f"{name:28}{value:>30}{limit:>10}")
    held = whole_s <= MAX_SECONDS and rss_bytes <= MAX_RSS_BYTES and theirs_s >= MIN_RATIO * ours_s and ours == theirs
    print("every limit holds" if held else "a limit does not hold")
    return 0 if held else 1


def tracked_peak(model: Llama, tokens: torch.Tensor, targets: torch.Tensor) -> int:
    """MemTracker's peak, without the loss and the targets: it counts them, and `measure` does not."""
    with MemTracker() as tracker:
        tracker.track_external(model)
        loss = model(tokens, targets)
        loss.backward()
    (peak,) = tracker.get_tracker_snapshot("peak").values()
    return int(peak["Total"]) - loss.nbytes - targets.nbytes


def peak_rss_bytes() -> int:
    """The most memory that this process has had resident; Linux counts in KiB, macOS in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    sys.exit(main())
