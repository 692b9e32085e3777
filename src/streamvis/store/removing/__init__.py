"""Taking data back: deleted runs, rows after a resumed step, and values that are not kept any longer."""
