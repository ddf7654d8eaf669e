"""What `scripts/record_gpu.py` and `scripts/tune_gpu.py` measure, and how they keep it."""
