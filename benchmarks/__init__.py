"""Benchmarks: one module a question, each side by side with what a user would pick instead."""
