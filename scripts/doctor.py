"""Say which results are stale and why, and what is in the store."""

from shapprune.doctor import diagnose
from shapprune.jobs import said
from shapprune.plan import Plan

with said(snakemake.log[0]) as say:
    for line in diagnose(Plan(snakemake.params.config)):
        say(line)
