"""The unix socket beside a home: how commands, the api and load generators talk to a running node.

protocol.py has the framing and its limits, views.py the values, methods.py what can be asked (and `NodeView`,
what it asks of the node), server.py the trio side, client.py the blocking side, which imports neither.
"""
