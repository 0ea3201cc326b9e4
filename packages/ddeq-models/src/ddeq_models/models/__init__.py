"""The models: each with its configuration and its presets in one file."""
