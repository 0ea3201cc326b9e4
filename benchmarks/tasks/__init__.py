"""Regression and segmentation beside what users have."""
