"""A module for each format of files, or two where its head takes one of its own."""
