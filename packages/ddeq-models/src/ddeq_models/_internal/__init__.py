"""Of no use outside this package: text, files, memory, devices."""
