"""The commands, a module each: its options in ``add``, what it does in ``run``."""
