"""Load a data set, check it and write it in the one form that the other jobs read."""

from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads):
    from shapprune.data.prepared import write_prepared
    from shapprune.data.sets import load, load_own

    name, own = snakemake.wildcards.data, snakemake.params.own
    image_set = load_own(own, name) if own else load(name)
    write_prepared(snakemake.output.arrays, image_set)
    print(image_set.info)
