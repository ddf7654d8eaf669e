"""Accelerator: what a GPU has, for the question whether a training step fits and what bounds it."""
