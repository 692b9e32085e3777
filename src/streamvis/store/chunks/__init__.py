"""What a store keeps as bytes: how rows lie in chunks, and how pieces of a key or a log are found among them."""
