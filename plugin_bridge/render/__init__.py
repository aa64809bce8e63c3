"""Clips to sound and pictures."""
