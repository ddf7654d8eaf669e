"""The pictures that move: one module a picture, drawn as SVG from numbers that the package computes."""
