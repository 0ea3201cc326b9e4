"""Benchmarks of ddeq-models: whole trainings, and what a step of one takes."""
