"""Work on the repository itself: its site and its releases. Run from the root, as modules."""
