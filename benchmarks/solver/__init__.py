"""Benchmarks of wgf-solver: its gradients, evaluations, memory and time."""
