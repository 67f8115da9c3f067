"""Take a snapshot of the store with DVC and say what to type next."""

from shapprune.jobs import said
from shapprune.sharing import snapshot

with said(snakemake.log[0]) as say:
    for line in snapshot(snakemake.resources.store):
        say(line)
