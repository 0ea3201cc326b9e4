"""What has to be true before a package is released: `hatch run release PACKAGE`."""
