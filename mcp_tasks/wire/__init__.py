"""What the bytes mean: the shapes of the protocol's objects, without behaviour."""
