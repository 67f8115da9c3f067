"""Data sets, checked and in one form.

REQUIRED INPUTS
    the files of the data sets (data/README.md), a text, or a function of the user's own
OUTPUTS
    results/data/{data}.npz     images or tokens, and labels; {data}.json beside it: shape, counts, mean, std, md5
"""


rule prepare_data:
    """Check a data set and write it in one form."""
    input:
        lambda wildcards: inputs.text_files(config["datasets"].get(wildcards.data)),
    output:
        arrays=ensure("results/data/{data}.npz", non_empty=True),
        manifest="results/data/{data}.json",
    log:
        "results/logs/prepare_data/{data}.log",
    benchmark:
        "results/benchmarks/prepare_data/{data}.tsv"
    conda:
        "../envs/torch.yaml"
    params:
        own=lambda wildcards: config["datasets"].get(wildcards.data),
    message:
        "Preparing data set {wildcards.data}"
    script:
        "../scripts/prepare_data.py"
