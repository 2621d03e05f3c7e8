"""Links to other nodes over libp2p: who is there, what they may send, what is heard when one goes silent.

config.py has the settings, addresses.py multiaddresses, host.py the hardened libp2p host, link.py one link,
outbox.py and rates.py its bounds, scores.py faults and bans, links.py all links, asking.py questions and
answers, gossip.py what everybody should get, discovery.py who else there is.
"""
