"""What trained models are like: their figures on a split, and their equilibria."""
