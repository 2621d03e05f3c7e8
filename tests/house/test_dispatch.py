"""Nothing that can happen and nothing that is asked falls on the floor."""

import inspect
from typing import Any, get_args

from consensus import effects, inputs
from consensus.effects import Effect
from consensus.inputs import Input
from consensus.replica import HANDLERS
from consensus.simulation import inbound, places, validator
from consensus.simulation.byzantine import ACTORS
from consensus.simulation.scenario import Actor
from prsm_node.consensus_host.host import PERFORM


def kinds(module: Any, base: type) -> set[type]:
    """Return the values of one kind that a module defines."""
    members = (member for _, member in inspect.getmembers(module, inspect.isclass))
    return {member for member in members if issubclass(member, base) and member is not base}


def test_the_host_performs_every_effect() -> None:
    assert set(PERFORM) == kinds(effects, Effect)


def test_the_replica_handles_every_input() -> None:
    assert set(HANDLERS) == kinds(inputs, Input)


def test_the_simulated_host_performs_every_effect() -> None:
    assert set(validator.PERFORM) == kinds(effects, Effect)


def test_the_simulation_knows_every_message_that_comes_over_a_link() -> None:
    assert set(inbound.ADMITS) == set(places.PLACES) <= kinds(inputs, Input)


def test_a_scenario_may_name_every_actor() -> None:
    assert set(get_args(Actor)) == set(ACTORS)
