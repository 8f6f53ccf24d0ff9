"""Streams and processes; nothing here knows of tasks or peers."""
