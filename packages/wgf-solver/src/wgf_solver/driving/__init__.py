"""What brings a flow to rest: the driver, its iteration, its yardstick, its probe of the end."""
