"""What lies in results/ and in the store, looked at, brought back and tidied up; nothing here is part of the study.

REQUIRED INPUTS
    none; whatever is there
OUTPUTS
    none of their own but what they say
"""


localrules:
    restore,
    doctor,
    store_gc,


rule restore:
    """Restore what the store has and compute nothing; on a cluster only what is missing is submitted after that."""
    input:
        lambda wildcards: [path for job in PLAN.restorable() for path in job.results()],


rule doctor:
    """Say which results are stale and why, and what is in the store."""
    log:
        "results/logs/doctor.log",
    conda:
        "../envs/plots.yaml"
    params:
        config=config,
    message:
        "Looking at results and store"
    script:
        "../scripts/doctor.py"


rule store_gc:
    """Show what in the store is not needed; delete it with --config confirm=yes."""
    log:
        "results/logs/store_gc.log",
    conda:
        "../envs/plots.yaml"
    params:
        config=config,
        repository=workflow.basedir,
        revisions=[name for name in str(ASKED.get("revisions", "")).split(",") if name],
        confirm=str(ASKED.get("confirm")).lower() in ("yes", "true"),
    message:
        "Looking for records of the store that are not needed"
    script:
        "../scripts/store_gc.py"
