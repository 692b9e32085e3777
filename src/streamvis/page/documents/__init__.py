"""A session's Bokeh document: as its author sees it, its look, its models, and its link to the browser."""
