"""Trainings of frozen configurations, and the tables and pictures that are made of them."""
