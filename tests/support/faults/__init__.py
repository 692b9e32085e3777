"""The fault program's parts: small programs that send, read and show numbered records, what breaks them, and the comparison.

`benchmarks/faults.py` puts them together; `producer`, `reader`, `browser` are programs, and `page` is a page script.
"""
