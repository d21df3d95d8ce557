"""Threats beside the ball of a norm: what else an attacker, or a camera, may do to an image."""
