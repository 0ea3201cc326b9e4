"""Text in bytes: its words, the numbers in it, and tables of them."""
