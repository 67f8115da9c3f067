"""Say which results are stale and why, and what is in the store."""

from shapprune.workflow.jobs.frame import answering_job
from shapprune.workflow.study.doctor import diagnose
from shapprune.workflow.study.plan import Plan

with answering_job(snakemake.log[0]) as say:
    for line in diagnose(Plan(snakemake.params.config)):
        say(line)
