"""Train a network by its recipe, or take its weights, and write it with what is known of it."""

from shapprune.jobs import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    from shapprune.data import read_prepared
    from shapprune.networks.storage import save
    from shapprune.stages import HISTORY, make_network
    from shapprune.tables import write_table

    given = snakemake.params
    seed = int(snakemake.wildcards.seed)
    image_set = read_prepared(snakemake.input.data)
    checkpoint = Path(snakemake.output.model).with_name("checkpoint.pt")
    model, history, facts = make_network(given.network, image_set, given.validation, seed, given.device, checkpoint)
    save(model, snakemake.output.model, net=snakemake.wildcards.net, **facts)
    write_table(snakemake.output.training, HISTORY, history)
    checkpoint.unlink(missing_ok=True)
