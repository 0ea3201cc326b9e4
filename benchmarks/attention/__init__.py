"""Benchmarks of set-attention beside what a user would pick instead."""
