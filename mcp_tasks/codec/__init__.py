"""Between bytes and values: the JSON of messages, and the shapes in it."""
