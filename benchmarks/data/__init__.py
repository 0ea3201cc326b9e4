"""Benchmarks of ddeq-data: what reading takes."""
