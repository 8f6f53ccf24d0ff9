"""Our party, and what it is doing: peers, connections, handlers and what they are given."""
