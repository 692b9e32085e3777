"""Pages that come with the package. Each is a page script like any other, made to be copied."""
