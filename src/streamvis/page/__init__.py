"""The half for pages: runs an author's two functions in a Bokeh document, and fills it.

Imports nothing here: what reads page scripts and addresses alone needs no Bokeh. The public names are in `streamvis`.
"""
