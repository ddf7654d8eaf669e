"""actckpt."""
