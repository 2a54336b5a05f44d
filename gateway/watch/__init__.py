"""Watching: figures of the ledger, put once a minute where alarms and a dashboard look at them."""
