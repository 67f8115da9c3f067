"""Checks the configuration and turns it into the tasks of the study.

REQUIRED INPUTS
    config.yaml, and the study given with --configfile or --config, if any
OUTPUTS
    none; names and functions that the other files use
"""

from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.utils import update_config

from shapprune.workflow.study import config as study
from shapprune.workflow.jobs import frame
from shapprune.gpu.leases import describe
from shapprune.workflow.figures import catalog as figures
from shapprune.workflow.stages import inputs, registry
from shapprune.workflow.stages.stage import fill, read_wildcards
from shapprune.core.errors import ShapPruneError
from shapprune.workflow.study.overlay import merge
from shapprune.workflow.study.plan import Plan

# What is asked of a rule with --config, and not part of the study.
ASKED = {key: config.pop(key) for key in ("confirm", "revisions") if key in config}

try:
    study.check_files(workflow.configfiles)
    asked = workflow.config_settings.config
    update_config(config, study.typed({key: asked[key] for key in config if key in asked}))
    checked = study.validate(merge(study.read(Path(workflow.basedir) / "config.yaml"), config))
except ShapPruneError as error:
    raise WorkflowError(str(error)) from None
config.clear()
config.update(checked)

frame.add_to_path(workflow.basedir)
PLAN = Plan(config)


onstart:
    say_gpus()


NETWORKS = config["networks"]
CRITERIA = config["criteria"]
UNTRAINED = PLAN.untrained
SMALL = 64  # units of a layer of which some minutes suffice

TABLES = [f"results/tables/{name}.csv" for name in (*registry.TABLES, "timing", "headline")]


def say_gpus():
    """Say once which GPUs jobs will lease; nothing where they run elsewhere, or there are none."""
    cap = workflow.global_resources.get("gpu")
    try:
        if workflow.local_exec and config["device"] != "cpu":
            if line := describe(config["gpu_slots"], cap and cap.value):
                logger.info(line)
    except ShapPruneError as error:
        raise WorkflowError(str(error)) from None


wildcard_constraints:
    net="[A-Za-z0-9_-]+",
    data="[A-Za-z0-9_-]+",
    seed=r"\d+",
    criterion="[A-Za-z0-9_-]+",
    method="[A-Za-z0-9_-]+",
    layer="[A-Za-z0-9_.+-]+",


def network_of(wildcards):
    """The configuration of a network."""
    return (NETWORKS | UNTRAINED)[wildcards.net]


def layers_of(wildcards):
    """The layers of a network that are studied, from input to output, with their units."""
    return PLAN.layers(wildcards.net)


def data_of(wildcards):
    """The prepared data set of a network."""
    return f"results/data/{network_of(wildcards)['data']}.npz"


def tuned_data_of(wildcards):
    """The prepared data set that a network is trained on with."""
    return f"results/data/{PLAN.stages['tune_units'].data(wildcards.net)}.npz"


def weights_of(wildcards):
    """The file of a network's weights, where they are not trained here but lie on this machine."""
    weights = NETWORKS[wildcards.net].get("weights")
    return [weights] if isinstance(weights, str) else []


def outputs(rule):
    """Outputs by name, as Snakemake wants folders and files that are never empty."""

    def marked(path):
        if isinstance(path, list):
            return [marked(each) for each in path]
        if path.endswith((".npz", ".safetensors")):
            return ensure(path, non_empty=True)
        return path if path.endswith((".csv", ".json")) else directory(path)

    return {name: marked(path) for name, path in PLAN.stages[rule].outputs.items()}


def benchmark_of(rule):
    """The file in which Snakemake says how long a job of a rule took."""
    return PLAN.stages[rule].benchmark


def timed():
    """The jobs that Snakemake times: what they are of, and the file that says how long they took."""
    for data in dict.fromkeys([*(network["data"] for network in (NETWORKS | UNTRAINED).values()), *tuned_data()]):
        yield {"stage": "prepare_data"}, f"results/benchmarks/prepare_data/{data}.tsv"
    for job in PLAN.jobs():
        if job.stage.outputs:
            yield {"stage": job.rule, **job.wildcards}, fill(job.stage.benchmark, job.wildcards)


def tuned_data():
    """The data sets that networks are trained on with."""
    return [PLAN.stages["tune_units"].data(net) for net in networks_of("tune_units")]


def job_of(rule, wildcards):
    """A job as the plan has it."""
    return PLAN.job(rule, read_wildcards(wildcards))


def results(rule, output=None):
    """What all jobs make, one output of each, or all."""
    return PLAN.results(rule, output)


def given(rule):
    """The params of a rule whose results are kept.

    A job reads its settings from its tasks, whose keys they are in. Where it runs is in no key, because the results are
    the same but for rounding.
    """
    stage = PLAN.stages[rule]
    params = {
        "tasks": lambda wildcards: job_of(rule, wildcards).descriptions(),
        **{name: of_wildcards(function) for name, function in stage.given().items()},
        "unfinished": stage.unfinished,
    }
    if stage.columns:
        params["columns"] = stage.columns
    if stage.gpu:
        params["device"] = config["device"]
    return params


def stored(rule):
    """The resources of a rule whose results are kept. They change no result, so another value runs nothing again.

    ``found`` of ``total`` tasks are in the store. A job of which all are asks for no GPU. (A resource must not be called
    ``tasks``: the plugin for Slurm takes that for an option of its own.)
    """
    resources = {
        "store": config["store"],
        "found": lambda wildcards: PLAN.found(rule, read_wildcards(wildcards))[0],
        "total": lambda wildcards: len(job_of(rule, wildcards).tasks),
    }
    if PLAN.stages[rule].gpu:
        resources |= {"gpu": gpus(rule), "gpu_slots": config["gpu_slots"], "call_mb": config["memory_mb"]}
    return resources


def message_of(rule, does):
    """What a job does, and how much of it is in the store already."""
    gpu = ", gpu={resources.gpu}" if PLAN.stages[rule].gpu else ""
    return f"{does}: {{resources.found}} of {{resources.total}} restored{gpu}"


def gpus(rule):
    """GPUs that a job asks for: none where all is in the store."""

    def number(wildcards):
        found, tasks = PLAN.found(rule, read_wildcards(wildcards))
        return 0 if config["device"] == "cpu" or found == tasks else 1

    return number


def of_wildcards(function):
    """A function of a job's wildcards, as Snakemake wants it."""
    return lambda wildcards: function(read_wildcards(wildcards))


def group_of(wildcards):
    """The group of the jobs of small layers, where a profile says how many layers a cluster is given in one job."""
    grouped = "small_layers" in workflow.group_settings.group_components
    return "small_layers" if grouped and layers_of(wildcards)[read_wildcards(wildcards)["layer"]] <= SMALL else None


def consumed(rule):
    """The files and folders that the tasks of a job consume."""
    return lambda wildcards: job_of(rule, wildcards).consumed()


def networks_of(rule):
    """The networks that a rule has jobs for."""
    return list(dict.fromkeys(job.wildcards["net"] for job in PLAN.jobs(rule)))


FIGURES = figures.paths(
    {
        "studied": NETWORKS,
        "pruned": networks_of("evaluate_pruned"),
        "trained": [net for net, network in NETWORKS.items() if network.get("train", {}).get("epochs")],
        "tabulated": networks_of("tabulate_coalitions"),
        "compared": networks_of("study_estimators"),
        "fine_tuned": networks_of("fine_tune_pruned"),
        "compressed": networks_of("compress_network"),
        "budgeted": networks_of("fit_budgets"),
        "retrained": networks_of("retrain_budgets"),
        "deactivated": networks_of("deactivate_units"),
        "quantised": networks_of("quantise_network"),
        "untrained": networks_of("prune_untrained"),
        "tuned": networks_of("tune_units"),
        "probed": networks_of("probe_units"),
    }
)


def table(name, title=None):
    """A table of the study; the report offers it if it has a title and the study makes something for it."""
    path, title = f"results/tables/{name}.csv", title or registry.TABLES[name].title
    if not title or (name in registry.TABLES and not PLAN.made_for(name)):
        return path
    return report(path, caption="../report/tables.rst", category="Study", labels={"table": title})
