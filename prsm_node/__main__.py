"""`python -m prsm_node` is `prsm-node`: what starts daemons needs no console script on its path."""

from prsm_node.cli.app import main

if __name__ == "__main__":
    main()
