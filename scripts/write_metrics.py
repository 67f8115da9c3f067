"""Write the headline numbers of the study."""

from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads):
    from shapprune.core.files import write_json
    from shapprune.workflow.computing import collect
    from shapprune.workflow.figures.layout import read_table
    from shapprune.workflow.figures.styles import criterion_styles
    from shapprune.workflow.share import headlines
    from shapprune.workflow.store.keys import digest

    given, output = snakemake.input, snakemake.output
    labels = {order: style.label for order, style in criterion_styles(snakemake.params.criteria).items()}
    areas = headlines.areas(read_table(given.auc), labels)
    steps = headlines.low_data(read_table(given.low_data), labels)
    collect.write(output.auc, areas)
    collect.write(output.low_data, steps)
    write_json(
        output.metrics, headlines.metrics(headlines.read(given.headline), read_table(given.networks), areas, steps)
    )
    write_json(output.manifest, {"study": digest(snakemake.params.expected)})
