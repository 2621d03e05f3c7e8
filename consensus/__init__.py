"""The BFT protocol of PRSM, pure: (state, input) -> effects.

README.md beside this file tells the protocol in prose. Nothing here does I/O, reads a clock, draws a random
number, logs, or knows trio or prsm_node; tests/house holds that to be true.
"""
