"""Prune a network by criteria with little data, once for each criterion, aggregate, ratio, repair and trial."""

from shapprune.workflow.jobs.frame import stored_job

with stored_job(snakemake) as work:
    if work.missing:
        from shapprune.core.progress import track
        from shapprune.workflow.computing.low_data import keep_chain
        from shapprune.workflow.computing.run import open_run
        from shapprune.workflow.store.work import Work

        run, given, store = open_run(snakemake, work), snakemake.params, snakemake.resources.store
        by_trial = sorted(work.missing, key=lambda label: work.tasks[label]["parts"]["trial"])
        for label in track(by_trial, "chains"):  # those of a trial are measured on the same images
            steps, evaluation = Work(store, given.steps[label]), Work(store, {label: given.evaluations[label]})
            steps.find()
            evaluation.find()
            keep_chain(run, label, work, steps, evaluation)
