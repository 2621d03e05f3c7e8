"""`prsm-node version`."""

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of

from prsm_node import __version__
from prsm_node.cli.output import print_fields, print_json

LIBRARIES = ("libp2p", "trio", "cryptography", "py-ed25519-zebra-bindings", "msgspec", "lmdb")


def version(json: bool = False) -> None:
    """The versions of program, Python and libraries."""
    versions = {"prsm_node": __version__, "python": platform.python_version()}
    for library in LIBRARIES:
        try:
            versions[library.replace("-", "_")] = version_of(library)
        except PackageNotFoundError:
            versions[library.replace("-", "_")] = "missing"
    if json:
        print_json(versions)
    else:
        print_fields((name.replace("_", "-"), number) for name, number in versions.items())
