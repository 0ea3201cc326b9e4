"""What the folders of this package share and no other package may use."""
