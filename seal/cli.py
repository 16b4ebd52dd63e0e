"""The `seal` command, for people: no stage depends on it."""

from io import StringIO
from pathlib import Path
from typing import Annotated, Literal

import typer
import yaml as pyyaml

from seal.config import ConfigError, load_params, parse_params
from seal.errors import one_line_errors
from seal.record import RESULTS, TIMINGS, atomic

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="SEAL, trained by generations: the commands for people.",
)


@app.command()
def tier(
    name: Annotated[Literal["smoke", "mini", "paper"], typer.Argument(help="the parameters to make active")],
    choices: Annotated[Literal["author_code"] | None, typer.Option(help="lay these open choices over them")] = None,
) -> None:
    """Write params.yaml from params/NAME.yaml; comments stay."""
    with one_line_errors():
        write_tier(name, choices, Path("params"), Path("params.yaml"))
    typer.echo(f"params.yaml is now {name}{f' with the choices of {choices}' if choices else ''}; `make repro` runs it")


def write_tier(name: str, choices: str | None, folder: Path, target: Path) -> None:
    """Copy a tier's parameters to `target`, with an overlay's values for its own, once the whole is valid."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 120
    # Left to itself, ruamel.yaml writes null as nothing, and the copy of a tier would differ from it.
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    source = folder / f"{name}.yaml"
    if not source.exists():
        raise ConfigError(f"{source}: not found; run from the project's root")
    params = yaml.load(source)
    overlay = yaml.load(folder / f"{choices}.yaml") if choices else {}
    for section, values in overlay.items():
        for key, value in values.items():
            if key not in params[section]:
                raise ConfigError(f"{folder}/{choices}.yaml: {section}.{key}: unknown key")
            params[section][key] = value
    text = StringIO()
    yaml.dump(params, text)
    parse_params(
        pyyaml.safe_load(text.getvalue()), f"{source} with {folder}/{choices}.yaml" if choices else str(source)
    )
    with atomic(target) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="")


@app.command()
def sync() -> None:
    """Rebuild the MLflow view from the record; what is there already stays."""
    from seal import tracking

    with one_line_errors():
        for outcome in tracking.sync(load_params().run_names(), RESULTS, TIMINGS):
            typer.echo(f"{outcome.run}: {outcome.status}")


@app.command()
def ui(port: Annotated[int, typer.Option(help="on localhost")] = 5000) -> None:
    """Sync, and serve the MLflow UI on localhost until Ctrl-C."""
    from seal import tracking

    with one_line_errors():
        tracking.sync(load_params().run_names(), RESULTS, TIMINGS)
        tracking.serve(port)


@app.command()
def doctor() -> None:
    """Check this machine and environment, and say what to do about each finding."""
    from seal import doctor as checks

    findings = checks.check()
    checks.render(findings)
    raise typer.Exit(1 if any(finding.status == "fail" for finding in findings) else 0)
