"""What lies on the disk: `folders` of spools, with `segments` made of `frames`; and who delivers what producers left there
(`leftovers`, `syncing`)."""
