"""The commands of the terminal, a module each, their common options, and the processes that `serve` and `demo` start."""
