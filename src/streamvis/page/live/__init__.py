"""Sources that Streamvis fills: what they show, and how each session keeps them filled with a bounded number of rows."""
