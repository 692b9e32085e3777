"""One small module for each framework. None is imported before you name it: `from streamvis.integrations.keras import ...`."""
