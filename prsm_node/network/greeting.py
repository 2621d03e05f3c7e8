"""The greeting with which a link begins: each end names its network and itself, and proves a validator key.

The proof signs the other end's challenge for this session, so that what was heard on one link proves nothing
on another. What becomes of a link that has greeted is decided in links.py.
"""

from collections.abc import Callable
from typing import Protocol

from prsm_node.identity.ed25519 import verify
from prsm_node.network.link import Link
from prsm_node.wire.frames import encode_message
from prsm_node.wire.kinds import Kind
from prsm_node.wire.payloads import Greeting, Hello, SessionProof, session_signed_bytes


class ValidatorSession(Protocol):
    """The validator that this node runs, for session proofs; identity's sign guard provides it."""

    @property
    def key(self) -> bytes: ...
    @property
    def session(self) -> bytes:
        """8 to 32 bytes, durable and made by this run."""

    def sign_session(self, message: bytes) -> bytes:
        """Sign what session_signed_bytes() gave."""


class GreetingLinks(Protocol):
    """What greeting needs of links.py."""

    node_key: bytes
    network_id: bytes
    height: Callable[[], int]

    @property
    def advertised(self) -> tuple[str, ...]: ...
    def fault(self, of: Link, reason: str) -> None: ...


class Greeter:
    """`instance` is this run's own: a new run of a node replaces the links of its earlier one."""

    def __init__(
        self, links: GreetingLinks, version: str, validator: ValidatorSession | None, instance: bytes
    ) -> None:
        self._links = links
        self._version = version
        self._validator = validator
        self._instance = instance

    def greet(self, link: Link) -> None:
        """Say who we are on a new link."""
        greeting = Greeting(
            genesis=self._links.network_id,
            version=self._version,
            listen=self._links.advertised,
            height=self._links.height(),
            challenge=link.challenge,
            instance=self._instance,
            validator=None if self._validator is None else self._validator.key,
        )
        link.send(Kind.HELLO, encode_message(greeting))

    def hello(self, link: Link, hello: Hello) -> bool:
        """Take a message of a greeting; return whether the link may come up with this one."""
        if isinstance(hello, Greeting):
            if link.greeting is not None or hello.genesis != self._links.network_id:
                self._links.fault(link, "not_greeted")
                link.close("greeted twice or for another genesis")
                return False
            link.greeting = hello
            link.height = hello.height
            if self._validator is not None:
                content = session_signed_bytes(
                    self._links.network_id, self._links.node_key, self._validator.session, hello.challenge
                )
                proof = SessionProof(
                    self._validator.key, self._validator.session, self._validator.sign_session(content)
                )
                link.send(Kind.HELLO, encode_message(proof))
            return hello.validator is None
        greeting = link.greeting
        if greeting is None or link.up.is_set() or hello.validator != greeting.validator:
            self._links.fault(link, "not_greeted")
            link.close("proof without greeting")
            return False
        content = session_signed_bytes(self._links.network_id, link.node_key, hello.session, link.challenge)
        if not verify(hello.validator, hello.signature, content):
            self._links.fault(link, "wrong_session_proof")
            link.close("wrong session proof")
            return False
        link.validator, link.session = hello.validator, hello.session
        return True
