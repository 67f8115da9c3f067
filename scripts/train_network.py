"""Train a network by its recipe, or take its weights, and write it with what is known of it."""

from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads, snakemake.resources.gpu, snakemake.resources.gpu_slots):
    from pathlib import Path

    from shapprune.core.tables import write_table
    from shapprune.data.prepared import require_data
    from shapprune.workflow.stages.columns import TRAINING
    from shapprune.workflow.store.work import Work

    given, folder = snakemake.params, Path(snakemake.output.model).parent
    work = Work(snakemake.resources.store, given.tasks)
    work.find_files(folder)
    if work.missing:
        from shapprune.data.prepared import read_prepared
        from shapprune.networks.storage import save
        from shapprune.workflow.stages.train import make_network

        seed, image_set = int(snakemake.wildcards.seed), read_prepared(snakemake.input.data)
        checkpoint = folder / "checkpoint.pt"  # no output: Snakemake would delete it when the job is cut off
        model, facts = make_network(given.network, image_set, given.validation, seed, given.device, checkpoint)
        save(model, snakemake.output.model, net=snakemake.wildcards.net, **facts)
        work.keep_files("model", folder, ".safetensors")
        checkpoint.unlink(missing_ok=True)
    require_data(work.facts["model"], snakemake.input.data)
    write_table(snakemake.output.training, TRAINING, work.facts["model"]["history"])
