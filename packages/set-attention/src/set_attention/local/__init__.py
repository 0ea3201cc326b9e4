"""Local structure: a few points that stand for all, who is near them, and what lies about each."""
