"""Write the configuration of the study as it was used."""

from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads):
    import yaml

    from shapprune.core.files import whole

    with whole(snakemake.output[0]) as temporary:
        temporary.write_text(yaml.safe_dump(snakemake.params.config, sort_keys=False))
