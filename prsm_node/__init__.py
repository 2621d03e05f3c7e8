"""The PRSM daemon. ARCHITECTURE.md maps its rooms; node.py wires them."""

__version__ = "0.1.0"
