"""The rooms' own settings, from the operator's configuration and from the genesis."""

from consensus.rules import Rules
from prsm_node.config import Config
from prsm_node.ledger.parameters import Parameters
from prsm_node.mempool.admission import Limits
from prsm_node.network.config import NetworkConfig


def network_config(config: Config) -> NetworkConfig:
    """Fill the network room's settings from the operator's."""
    family = "ip6" if ":" in config.network.host else "ip4"
    return NetworkConfig(
        listen=(f"/{family}/{config.network.host}/tcp/{config.network.port}",),
        advertise=config.network.advertise,
        bootstrap=config.network.bootstrap,
        mdns=config.network.mdns,
        dht=config.network.dht,
        exchange_peers=config.network.peer_exchange,
        links_max=config.network.peers_max,
        heartbeat_s=config.network.heartbeat_s,
    )


def mempool_limits(config: Config) -> Limits:
    return Limits(items_max=config.mempool.transactions_max, bytes_max=config.mempool.bytes_max)


def rules(parameters: Parameters) -> Rules:
    """Return the replica's rules from the genesis."""
    return Rules(
        window=parameters.lane_window,
        advance_max=parameters.lane_step,
        heartbeat_ms=parameters.heartbeat_ms,
        precision_ms=parameters.clock_precision_ms,
        delay_ms=parameters.message_delay_ms,
    )
