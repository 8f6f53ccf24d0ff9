"""Judging other implementations: suites that drive any program over its transport, and programs to try them on."""
