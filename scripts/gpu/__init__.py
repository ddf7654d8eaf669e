"""What `scripts/record_gpu.py` records: attention, blocks of a model, and the file that keeps them."""
