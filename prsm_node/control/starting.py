"""What commands hear while a node fetches a snapshot: how far it is. All else waits for its state."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from msgspec import Struct

from prsm_node.control.protocol import ControlError
from prsm_node.control.server import Emit, Handlers, Method
from prsm_node.control.views import StatusView

NOT_YET: Final = (
    "this node is fetching a snapshot and has no state yet; `prsm-node status` shows how far it is"
)


class _Anything(Struct, frozen=True):
    """Params of whichever method."""


def handlers(told: Callable[[], StatusView], end: Callable[[], bool]) -> Handlers:
    """Make the table of methods: `status`, `stop`, and a refusal of all others."""

    async def status(_: _Anything, emit: Emit) -> object:
        return told()

    async def stop(_: _Anything, emit: Emit) -> object:
        end()
        return None

    async def refuse(_: _Anything, emit: Emit) -> object:
        raise ControlError("starting", NOT_YET)

    table = {"status": Method(_Anything, status), "stop": Method(_Anything, stop)}
    return _OrElse(table, Method(_Anything, refuse))


class _OrElse(Mapping[str, Method]):
    """A table with one answer to every other name."""

    def __init__(self, table: Handlers, otherwise: Method) -> None:
        self._table = table
        self._otherwise = otherwise

    def __getitem__(self, name: str) -> Method:
        return self._table.get(name, self._otherwise)

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)
