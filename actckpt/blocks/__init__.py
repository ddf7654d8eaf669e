"""Blocks, each described once: its stages, its regions, its tensors and their components, its parameters."""
