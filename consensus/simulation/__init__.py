"""Whole clusters of replicas in one thread: virtual time, one seed, one trace. No production room knows."""
