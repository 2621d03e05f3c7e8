"""Two processes with one key and one network address, neither knowing of the other (arXiv:2004.10617)."""

from consensus.simulation.validator import Validator


class Twin(Validator):
    honest = False
