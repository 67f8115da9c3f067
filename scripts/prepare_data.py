"""Load a data set, check it and write it in the one form that the other jobs read."""

from shapprune.jobs import job

with job(snakemake.log[0], snakemake.threads):
    from shapprune.data import load, load_own, write_prepared

    name, own = snakemake.wildcards.data, snakemake.params.own
    image_set = load_own(own, name) if own else load(name)
    write_prepared(snakemake.output.arrays, image_set)
    print(image_set.info)
