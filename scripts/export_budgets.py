"""Write the networks that fit budgets, of one method, as ONNX files."""

from shapprune.workflow.jobs.frame import stored_job

with stored_job(snakemake) as work:
    if work.missing:
        from shapprune.workflow.computing.export import keep_exported

        keep_exported(snakemake, work)
