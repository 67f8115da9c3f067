"""Checks the configuration and turns it into the tasks of the study.

REQUIRED INPUTS
    config.yaml, and the study given with --configfile or --config, if any
OUTPUTS
    none; names and functions that the other files use
"""

from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from shapprune.workflow.study import config as study
from shapprune.workflow.jobs import frame
from shapprune.gpu.leases import describe
from shapprune.workflow.study import layers as studied
from shapprune.workflow.figures import catalog as figures
from shapprune.criteria.catalog import lookup
from shapprune.core.errors import ShapPruneError
from shapprune.workflow.study.plan import Plan

# What is asked of a rule with --config, and not part of the study.
ASKED = {key: config.pop(key) for key in ("confirm", "revisions") if key in config}

try:
    checked = study.validate(study.merge(study.read(Path(workflow.basedir) / "config.yaml"), config))
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
HEURISTICS = {name: entry for name, entry in CRITERIA.items() if not lookup(entry["method"]).walks}
WALKS = {name: entry for name, entry in CRITERIA.items() if name not in HEURISTICS}

# Given to jobs as resources, not as params: they change no result, so another value runs nothing again.
CALL_MB = config["memory_mb"]
STORE = config["store"]
GPU_SLOTS = config["gpu_slots"]

SMALL = 64  # units of a layer of which some minutes suffice

RUN = "results/{net}/seed{seed}"
HEURISTIC_SCORES = [f"{RUN}/scores/{name}" for name in HEURISTICS]
WALK_SCORES = [f"{RUN}/scores/{name}/{{layer}}" for name in WALKS]

# The protocols that a study may leave out.
FINE_TUNED = config["fine_tune"]["criteria"]
UNTRAINED = PLAN.untrained
COMPRESSED = {net: config["compress"]["criteria"] if PLAN.sizes(net) else [] for net in NETWORKS}

TABLES = expand(
    "results/tables/{table}.csv",
    table=[
        *("networks", "training", "scores", "curves", "auc", "oracle", "estimators", "low_data"),
        *("fine_tune", "untrained", "compress", "timing", "headline"),
    ],
)


def say_gpus():
    """Say once which GPUs jobs will lease; nothing where they run elsewhere, or there are none."""
    cap = workflow.global_resources.get("gpu")
    try:
        if workflow.local_exec and config["device"] != "cpu":
            if line := describe(GPU_SLOTS, cap and cap.value):
                logger.info(line)
    except ShapPruneError as error:
        raise WorkflowError(str(error)) from None


wildcard_constraints:
    net="[A-Za-z0-9_-]+",
    data="[A-Za-z0-9_-]+",
    seed=r"\d+",
    criterion="[A-Za-z0-9_-]+",
    layer="[A-Za-z0-9_.]+",


def network_of(wildcards):
    """The configuration of a network."""
    return (NETWORKS | UNTRAINED)[wildcards.net]


def layers_of(wildcards):
    """The layers of a network that are studied, from input to output, with their units."""
    return studied.layers_of(network_of(wildcards), config)


def data_of(wildcards):
    """The prepared data set of a network."""
    return f"results/data/{network_of(wildcards)['data']}.npz"


def weights_of(wildcards):
    """The file of a network's weights, where they are not trained here but lie on this machine."""
    weights = NETWORKS[wildcards.net].get("weights")
    return [weights] if isinstance(weights, str) else []


def pruned_layers(wildcards):
    """The layers of a network that the low-data protocol prunes, from input to output."""
    return [layer for layer in layers_of(wildcards) if layer not in config["low_data"]["skip"]]


def tasks(rule):
    """What a job of a rule makes, each task with its key."""
    return lambda wildcards: PLAN.of(rule, **dict(wildcards.items()))


def found(rule):
    """How many of these are in the store."""
    return lambda wildcards: PLAN.found(rule, **dict(wildcards.items()))[0]


def count(rule):
    """How many these are."""
    return lambda wildcards: PLAN.found(rule, **dict(wildcards.items()))[1]


def gpus(rule):
    """GPUs that a job asks for: none where all is in the store."""

    def number(wildcards):
        restored, all_tasks = PLAN.found(rule, **dict(wildcards.items()))
        return 0 if config["device"] == "cpu" or restored == all_tasks else 1

    return number


def group_of(wildcards):
    """The group of the jobs of small layers, where a profile says how many layers a cluster is given in one job."""
    grouped = "small_layers" in workflow.group_settings.group_components
    return "small_layers" if grouped and layers_of(wildcards)[wildcards.layer] <= SMALL else None


def runs(pattern, networks=NETWORKS, **more):
    """The paths of a pattern with {net} and {seed} for every trained network, or for other networks."""
    return [
        path for net, network in networks.items() for path in expand(pattern, net=net, seed=network["seeds"], **more)
    ]


def layers(pattern):
    """The paths of a pattern with {net}, {seed} and {layer} for every layer that is studied."""
    return [
        path
        for net, network in NETWORKS.items()
        for path in expand(pattern, net=net, seed=network["seeds"], layer=studied.layers_of(network, config))
    ]


def compared_layers(pattern):
    """The paths of a pattern with {net}, {seed} and {layer} for every layer that estimators are compared in."""
    return [
        path
        for net, network in NETWORKS.items()
        for layer, units in studied.layers_of(network, config).items()
        if PLAN.compares(units)
        for path in expand(pattern, net=net, seed=network["seeds"], layer=layer)
    ]


def tables_of(wildcards):
    """The coalition table of a layer, if there is one."""
    if PLAN.tabulates(layers_of(wildcards)[wildcards.layer]):
        return expand(f"{RUN}/oracle/{{layer}}.npz", **wildcards)
    return []


def small_layers(pattern):
    """The paths of a pattern with {net}, {seed} and {layer} for every layer all coalitions of which are enumerated."""
    return [
        path
        for net, network in NETWORKS.items()
        for layer, units in studied.layers_of(network, config).items()
        if PLAN.tabulates(units)
        for path in expand(pattern, net=net, seed=network["seeds"], layer=layer)
    ]


def scores_of(wildcards):
    """The folders of all scores of a layer."""
    return expand(HEURISTIC_SCORES + WALK_SCORES, **wildcards)


def scores_by(wildcards):
    """The folders of all scores of a network by one criterion."""
    if wildcards.criterion in HEURISTICS:
        return expand(f"{RUN}/scores/{{criterion}}", **wildcards)
    return expand(f"{RUN}/scores/{{criterion}}/{{layer}}", layer=layers_of(wildcards), **wildcards)


def compressed():
    """The folders of all compressed networks."""
    return [
        path
        for net, criteria in COMPRESSED.items()
        for path in expand(f"{RUN}/compressed/{{criterion}}", net=net, seed=NETWORKS[net]["seeds"], criterion=criteria)
    ]


FIGURES = figures.paths(
    {
        "studied": NETWORKS,
        "trained": [net for net, network in NETWORKS.items() if "train" in network],
        "tabulated": small_layers("{net}"),
        "compared": compared_layers("{net}"),
        "fine_tuned": NETWORKS if FINE_TUNED else [],
        "compressed": [net for net, criteria in COMPRESSED.items() if criteria],
        "untrained": UNTRAINED,
    }
)


def table(name, title):
    """A table of the study that the report offers."""
    return report(
        f"results/tables/{name}.csv", caption="../report/tables.rst", category="Study", labels={"table": title}
    )
