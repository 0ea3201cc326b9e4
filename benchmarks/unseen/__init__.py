"""The suite of small sets that no default was tuned on, and the peers beside it."""
