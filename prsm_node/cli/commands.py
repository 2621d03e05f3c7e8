"""The table of commands: where each is implemented and what it is for, in the order of the help."""

from typing import Final, NamedTuple


class Entry(NamedTuple):
    target: str
    """`module:function` below prsm_node.cli, imported when the command is called."""
    help: str
    plain: bool = False
    """It takes nothing but --json: click alone builds it, and the 50 ms of importing typer are saved."""


SECTIONS: Final[dict[str, dict[str, Entry]]] = {
    "Set up": {
        "init": Entry("init:init", "Make a home: keys and a configuration."),
        "testnet new": Entry("testnet_new:new", "Make the homes of a local network."),
        "config show": Entry("config_commands:show", "Every setting and where it comes from.", plain=True),
        "config validate": Entry("config_commands:validate", "Check the configuration.", plain=True),
    },
    "Run": {
        "start": Entry("start:start", "Run a node; without a home, a network of its own."),
        "join": Entry("join:join", "Make a home in the network of an invite."),
        "invite": Entry("invite:invite", "Print an invite to this network.", plain=True),
        "testnet up": Entry("testnet_up:up", "Run all nodes of a local network."),
        "stop": Entry("stop:stop", "Stop the running node.", plain=True),
        "logs": Entry("logs:logs", "Print what the node logged, and follow it."),
    },
    "Look": {
        "status": Entry("status:status", "Height, peers, sync, voting and last finality.", plain=True),
        "peers": Entry("peers:peers", "The peers this node is connected to, or whom it banned."),
        "validators": Entry("validators:validators", "The validators and their powers.", plain=True),
        "evidence": Entry("evidence:evidence", "Who is proven guilty of what.", plain=True),
        "block": Entry("block:block", "A block, by its height."),
        "tx": Entry("tx:tx", "A transaction and what became of it."),
        "account": Entry("account:account", "Balance and nonce of an account."),
        "verify-proof": Entry("verify_proof:verify_proof", "Check an account's proof, offline."),
    },
    "Pay": {
        "wallet new": Entry("wallet:new", "Make a wallet."),
        "wallet list": Entry("wallet:list_wallets", "The wallets in this home.", plain=True),
        "wallet balance": Entry("wallet_online:balance", "What a wallet holds."),
        "wallet send": Entry("wallet_online:send", "Pay, and wait until it is final."),
        "wallet history": Entry("wallet_online:history", "A wallet's last payments."),
        "wallet export": Entry("wallet:export", "Write a wallet's secret key to a file."),
        "wallet import": Entry("wallet:import_wallet", "Make a wallet from an exported key."),
    },
    "Tools": {
        "snapshot list": Entry("snapshot:list_snapshots", "The snapshots of the state here.", plain=True),
        "snapshot export": Entry("snapshot:export", "Write a snapshot of the state to a file."),
        "snapshot import": Entry("snapshot:import_snapshot", "Begin a home's chain with such a file."),
        "frame decode": Entry("frame:decode", "Show what a frame from the wire says."),
        "simulate": Entry("simulate:run", "Attack a cluster in virtual time, seed after seed."),
        "bench": Entry("bench:bench", "Measure, and print the figures."),
        "version": Entry("version:version", "The versions of program, Python and libraries.", plain=True),
    },
}

GROUPS: Final = {
    "testnet": "A network of several nodes on this machine.",
    "config": "This node's settings.",
    "wallet": "Wallets, and payments from them.",
    "snapshot": "Snapshots of the state, for nodes that begin.",
    "frame": "Frames from the wire.",
}

COMMANDS: Final = {name: entry for section in SECTIONS.values() for name, entry in section.items()}
