"""Catching up: certified blocks from peers, verified and executed like any others."""
