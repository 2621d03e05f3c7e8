"""Every published figure, one module a bench, named as in `prsm-node bench NAME`.

Each says what it does not measure. report.py has the form of an answer, processes.py what daemons cost,
local_network.py the daemons, load.py the open-loop load.
"""
