"""How the gateway bears what it knows: a ledger of very many studies beside an empty one, from outside."""
