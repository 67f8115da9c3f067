"""Take a snapshot of the store with DVC and say what to type next."""

from shapprune.workflow.jobs.frame import answering_job
from shapprune.workflow.share.dvc import snapshot

with answering_job(snakemake.log[0]) as say:
    for line in snapshot(snakemake.resources.store):
        say(line)
