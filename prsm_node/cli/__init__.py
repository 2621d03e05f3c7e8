"""The command line. commands.py has the table of commands; each loads its module only when it is called.

A command that asks a running node talks to its socket and imports neither libp2p nor trio. A command is a
plain function with typer annotations; it prints through output.py and raises OperatorError for what a person
can put right.
"""
