"""`prsm-node evidence`."""

from prsm_node.cli.daemon import daemon
from prsm_node.cli.output import print_json, print_table, say
from prsm_node.control.views import EvidenceView, ForkView, ProvenView
from prsm_node.identity.addresses import validator_text


def evidence(json: bool = False) -> None:
    """Who is proven guilty of what, by blocks or waiting for one, and the forks that this node met."""
    with daemon() as client:
        view = client.ask("evidence", EvidenceView)
    if json:
        print_json(
            {
                "evidence": [_as_json(proven) for proven in view.evidence],
                "forks": [_fork_as_json(fork) for fork in view.forks],
            }
        )
        return
    if not view.evidence and not view.forks:
        say("nobody is proven guilty of anything")
        return
    if view.evidence:
        print_table(
            ("name", "guilty because it", "block", "jailed", "key"),
            [
                (
                    proven.name or "-",
                    proven.told,
                    "waits" if proven.block is None else proven.block,
                    "yes" if proven.jailed else "no",
                    validator_text(proven.key),
                )
                for proven in view.evidence
            ],
            right=(2,),
        )
    if view.forks:
        print_table(("fork at height", "proof"), [(fork.height, fork.proof) for fork in view.forks])


def _as_json(proven: ProvenView) -> dict[str, object]:
    return {
        "key": validator_text(proven.key),
        "name": proven.name,
        "kind": proven.kind,
        "height": proven.height,
        "round": proven.round,
        "lane": validator_text(proven.lane) if proven.lane is not None else None,
        "sequence": proven.sequence,
        "committed": proven.block is not None,
        "block": proven.block,
        "jailed": proven.jailed,
    }


def _fork_as_json(fork: ForkView) -> dict[str, object]:
    return {
        "height": fork.height,
        "proof": fork.proof,
        "guilty": [validator_text(key) for key in fork.guilty],
    }
