"""What models are trained for, and what is counted of their answers."""
