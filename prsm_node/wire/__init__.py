"""Signed msgpack frames: what nodes say to each other, with a bound on everything.

kinds.py has the one table of kinds, payloads.py what each carries, frames.py how a frame is built and judged,
stream.py how frames lie on a stream, describe.py how one is shown to a person.
"""
