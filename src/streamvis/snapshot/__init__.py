"""A page as one file that opens from the disk, with moments of the run's past in it, and pictures of it."""
