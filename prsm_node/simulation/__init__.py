"""Whole daemons in one thread: the real node.py on machines of memory, under virtual time and one seed.

What is simulated is the machine and the network between machines: clocks, randomness, disks, streams. All
that a node is made of is the code that runs in production, its frames and signatures included (DESIGN,
"Determinism of a whole daemon"). No production room knows of this one.
"""
