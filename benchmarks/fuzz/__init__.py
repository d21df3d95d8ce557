"""Damaged images and random requests against a running service."""
