"""Judging other implementations: suites that drive any program over its transport, and the programs they are tried on."""
