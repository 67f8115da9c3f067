"""Write the headline of the study: as a table, for the report's first page, and for a terminal."""

from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    from shapprune.workflow.computing import collect
    from shapprune.workflow.figures.layout import read_table
    from shapprune.workflow.figures.styles import criterion_styles
    from shapprune.workflow.share import headlines, wording

    given, output, params = snakemake.input, snakemake.output, snakemake.params
    labels = {order: style.label for order, style in criterion_styles(params.criteria).items()}
    tables = {name: read_table(path) for name, path in given.items() if name != "pruned"}
    headline = headlines.headline(tables | {"pruned": headlines.pruned(given.pruned)})
    rows = wording.in_words(headline, labels)
    collect.write(output.table, headline)
    Path(output.page).write_text(wording.as_rst(rows), encoding="utf-8")
    Path(output.text).write_text(wording.as_text(params.study, rows), encoding="utf-8")
