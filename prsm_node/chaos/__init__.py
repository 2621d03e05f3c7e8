"""Chaos on real processes: daemons of this machine killed, paused and cut off, and what they kept of their
promises.

Everything here is outside of the daemons: they run unchanged, on links that a carrier process shapes.
"""
