"""Frames out of byte streams, without I/O."""
