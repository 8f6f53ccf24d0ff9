"""JSON-RPC bookkeeping without I/O: who asked what, and what is still owed."""
