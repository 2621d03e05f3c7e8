"""Keys, the encrypted keystore, and the texts that stand for keys. Nothing here knows network or ledger."""
