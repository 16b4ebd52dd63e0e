"""The families of bad inputs by their names: what is spoiled in a small project, and the command that then meets it."""

from tests.campaign.inputs import archives, folders, names, params, section, security
from tests.campaign.records import derived, packs, records, scratch, swapped_parts
from tests.campaign.spoiling import Family, read_runs, spoil_any
from tests.campaign.surroundings import command_line, disk, environment, mlflow

FAMILIES: dict[str, Family] = {
    "params": params,
    "run and training sections": section("training", "generations", "model", "arms", "runtime", "datasets"),
    "evaluation sections": section("transfer", "fewshot", "fewshot_affines", "prediction_depth", "hessian"),
    "folders and lists": folders,
    "archives": archives,
    "fetched records and packs": packs,
    "weights and records": records,
    "evaluation files": spoil_any("results/normal-0/eval/*/*", read_runs),
    "handover and scratch": scratch,
    "swapped parts": swapped_parts,
    "claims, timings and lock": derived,
    "command line": command_line,
    "disk, permissions and limits": disk,
    "environment": environment,
    "MLflow": mlflow,
    "names and encodings": names,
    "security": security,
}
