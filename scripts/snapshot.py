"""Take a snapshot of the store with DVC and say what to type next."""

from shapprune.workflow.jobs.frame import said
from shapprune.workflow.share.dvc import snapshot

with said(snakemake.log[0]) as say:
    for line in snapshot(snakemake.resources.store):
        say(line)
