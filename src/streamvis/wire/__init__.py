"""Bytes <-> values, pure: nothing here opens a file or a connection.

`arrow` is the wire and stored form, `jsonform` the one for curl, `columns` and `tree` are what both are made of.
"""
