"""Show what is in the store and not needed, and delete it when that is confirmed."""

from shapprune.workflow.jobs.frame import answering_job
from shapprune.workflow.study.doctor import megabytes
from shapprune.workflow.study.plan import Plan
from shapprune.workflow.study.unneeded import unneeded

with answering_job(snakemake.log[0]) as say:
    given = snakemake.params
    plan = Plan(given.config)
    (keys, left_out), left = unneeded(plan, given.revisions, given.repository), list(plan.store.leftovers())
    size = megabytes(sum(map(plan.store.size, keys)))
    what = f"{len(keys)} of {len(plan.store.all_keys())} records of {plan.store.root} ({size})"
    what += f" and {len(left)} folders of killed jobs or damaged records"
    for sentence in left_out:
        say(sentence)
    needs = " and ".join(["the present configuration", *given.revisions])
    if given.confirm:
        plan.store.clear(keys)
        say(f"Deleted {what}; what {needs} need is kept.")
    else:
        say(f"{what} are not needed by {needs}.")
        say("Delete them: snakemake store_gc --config confirm=yes; keep those of git revisions too: revisions=main,v1")
