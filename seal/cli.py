"""The `seal` command, for people: no stage depends on it.

What a command needs is imported where it begins: `seal --help` should wait for none of it.
"""

from pathlib import Path
from typing import Annotated

import typer

from seal.cluster.commands import app as cluster_app
from seal.errors import one_line_errors
from seal.evaluate_command import app as evaluate_app
from seal.record import Tier
from seal.record_commands import app as record_app

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich's way to show help takes half a second to import
    help="SEAL, trained by generations: the commands for people.",
)
app.add_typer(record_app)
app.add_typer(cluster_app)
app.add_typer(evaluate_app)


@app.command()
def tier(
    name: Annotated[Tier, typer.Argument(help="the parameters to make active")],
    choices: Annotated[
        str | None, typer.Option(help="lay the file params/CHOICES.yaml over them, as author_code or regime_primary")
    ] = None,
) -> None:
    """Write params.yaml: the paper's parameters with what params/NAME.yaml changes; comments stay."""
    from seal.tiers import write_tier

    with one_line_errors():
        write_tier(name, choices, Path("params"), Path("params.yaml"))
    typer.echo(f"params.yaml is now {name}{f' with the choices of {choices}' if choices else ''}; `make repro` runs it")


@app.command()
def study(
    seed: Annotated[int | None, typer.Option(help="this seed alone")] = None,
    record: Annotated[
        Path | None,
        typer.Option(
            help="keep it in this folder, not in expected/TIER; for another training of the tier, as by --choices"
        ),
    ] = None,
) -> None:
    """Train and evaluate all of params.yaml seed by seed; keep small files in expected/TIER, and judge them there."""
    from seal.study import study as studies

    with one_line_errors(resumes="the same command goes on; what is kept stays"):
        studies.study(seed, record)


@app.command()
def sync() -> None:
    """Rebuild the MLflow view from the record: every run, and each arm over its seeds. What is there already stays."""
    from seal.tracking.whole import sync_all

    with one_line_errors():
        outcomes = sync_all()
        for outcome in outcomes:
            typer.echo(str(outcome))
    raise typer.Exit(1 if any(outcome.status == "BROKEN" for outcome in outcomes) else 0)


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="to serve at", min=1, max=65535)] = 5000,
    host: Annotated[str, typer.Option(help="address to listen on; 0.0.0.0 inside a container")] = "127.0.0.1",
) -> None:
    """Sync, and serve the MLflow UI on localhost until Ctrl-C."""
    from seal.tracking.server import serve
    from seal.tracking.whole import sync_all

    with one_line_errors():
        for outcome in sync_all():
            if outcome.status == "BROKEN":
                typer.echo(str(outcome))
        serve(port, host)


@app.command()
def doctor(
    cluster: Annotated[bool, typer.Option("--cluster", help="with what `seal submit` needs of a cluster")] = False,
) -> None:
    """Check this machine and environment, and say what to do about each finding."""
    from seal import doctor as checks

    with one_line_errors():
        findings = checks.check(of_cluster=cluster)
        checks.render(findings)
    raise typer.Exit(1 if any(finding.status == "fail" for finding in findings) else 0)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
def accept(context: typer.Context) -> None:
    """Prove this code on a GPU, where it has never run: one JSON (docs/gpu.md). `python -m seal.accept` is the same."""
    from seal.accept import __main__ as acceptance

    acceptance.main(context.args)


@app.command()
def plan(
    tier: Annotated[
        Tier | None,
        typer.Option(help="all stages of this tier, instead of those that params.yaml leaves to run"),
    ] = None,
    places: Annotated[str | None, typer.Option(help="as 1,8,64: how long on so many GPUs or cores at once")] = None,
    acceptance: Annotated[
        Path | None, typer.Option(metavar="FILE", help="of `seal accept`: price the paper tier by that GPU too")
    ] = None,
) -> None:
    """Say which stages `make repro` will run, and about how long and how much disk; nothing is run."""
    import shutil

    from rich.console import Console

    from seal.config import load_params
    from seal.data import listing
    from seal.planning.calibration import calibrate
    from seal.planning.places import places_of, show_places
    from seal.planning.show import show
    from seal.planning.stages import stages_of_tier, stages_to_run
    from seal.tiers import tier_params

    if tier is None:  # `make repro` begins with it too
        listing.main()
    with one_line_errors():
        params = load_params() if tier is None else tier_params(tier)
        if places is not None:
            show_places(places_of(places), tier, params, Console(soft_wrap=True), acceptance)
            return
        stages = stages_to_run() if tier is None else stages_of_tier(tier)
        show(stages, params, calibrate(params), Console(soft_wrap=True), shutil.disk_usage(".").free, acceptance)


@app.command()
def data(
    name: Annotated[str | None, typer.Argument(help="a key of `datasets` in params.yaml")] = None,
    guess: Annotated[Path | None, typer.Option(metavar="PATH", help="a folder, zip or tar of images")] = None,
) -> None:
    """Show what a dataset's pack holds, and write a contact sheet; or guess a folder's layout and print its entry."""
    from seal.config import load_params
    from seal.data import guess as guessing
    from seal.data.shown import show_data
    from seal.errors import ConfigError

    with one_line_errors():
        if name is not None and guess is None:
            for line in show_data(name, load_params()):
                typer.echo(line)
        elif guess is not None and name is None:
            guessed = guessing.guess(guess)
            typer.echo(f"{guess}: {guessed.says}\n{guessing.as_yaml(guess, guessed.entry)}")
        else:
            raise ConfigError("expected the name of a dataset, or --guess PATH")


@app.command()
def split(
    at: Annotated[str, typer.Option(help="the module at which the late side begins")] = "layer3",
    model: Annotated[
        str, typer.Option(help="torchvision:NAME, or path/to/file.py:function, which is run")
    ] = "torchvision:resnet50",
    size: Annotated[int, typer.Option(help="of the example image, in pixels", min=1)] = 224,
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="for what builds the network; may be repeated")
    ] = None,
) -> None:
    """Show the two sides of a network, split at a named module by the order in which a forward pass goes."""
    from seal.split_shown import show_split

    with one_line_errors():
        show_split(model, at, size, option or [])


if __name__ == "__main__":
    app()
