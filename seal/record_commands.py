"""The commands that read a record: claims, report, compare, bundle, check; seal/cli.py shows them among its own."""

from pathlib import Path
from typing import Annotated

import typer

from seal.errors import one_line_errors
from seal.record import OWN, RESULTS

app = typer.Typer()

Folders = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="DIR", help="a folder of runs to read instead of results/, e.g. expected/mini; may be repeated"
    ),
]


def _chosen(record: list[Path] | None) -> list[str]:
    return ["--record", *map(str, record)] if record else []


@app.command()
def claims(
    record: Folders = None,
    show: Annotated[str | None, typer.Option(metavar="ID", help="this claim alone, with what it rests on")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="fail where a claim is REFUTED")] = False,
    out: Annotated[Path | None, typer.Option(help="a file for the verdicts as JSON")] = None,
) -> None:
    """Judge every claim of the paper on the record: a verdict each, with its evidence; or show one of them in full."""
    from eval.claims import __main__ as stage

    written = ["--out", str(out)] if out else []
    shown = ["--show", show] if show else []
    stage.main([*_chosen(record), *shown, *(["--strict"] if strict else []), *written])


@app.command()
def report(
    record: Folders = None,
    out: Annotated[
        Path | None, typer.Option(help="the folder to write; report/, or report-record/ of --record")
    ] = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="a folder of runs by another decay, for the sweep's figure alone; may be repeated; of a committed "
            "study those of its sweep, unless said",
        ),
    ] = None,
) -> None:
    """Write the report, as one HTML file and as Markdown; of other folders with their verdicts, tier by tier."""
    from eval.claims import __main__ as judging
    from eval.report import __main__ as reporting
    from eval.report import ending
    from eval.report.settings import by_tier

    folder, verdicts = out or Path("report-record" if record else "report"), []
    with one_line_errors():
        tiers = by_tier(record) if record else {}
    for name, folders in tiers.items():
        verdicts.append(str(folder / name / "claims.json"))
        judging.main([*_chosen(folders), "--out", verdicts[-1]])

    if not record:
        verdicts = ["claims/claims.json"]
        judging.main(["--out", *verdicts])
    own = [] if record or not OWN.is_dir() else ["--own", str(OWN)]
    swept = ["--beside", *map(str, beside)] if beside else []
    reporting.main([*_chosen(record), *own, *swept, "--claims", *verdicts, "--out", str(folder)])
    ending.main([*_chosen(record), "--report", str(folder)])


@app.command()
def compare(
    expected: Annotated[Path, typer.Argument(metavar="EXPECTED", help="a folder of runs to hold it against")],
    own: Annotated[Path, typer.Argument(metavar="FOUND", help="a folder of runs of your own")] = RESULTS,
) -> None:
    """Say whether your runs agree with others, as those in expected/mini: bit for bit, or within the seeds' spread."""
    from seal.study import compare as comparing

    with one_line_errors():
        agrees = comparing.compare(expected, own)
    raise typer.Exit(0 if agrees else 1)


@app.command()
def bundle(
    record: Annotated[Path, typer.Option(metavar="DIR", help="a folder of runs, e.g. expected/mini")] = RESULTS,
    out: Annotated[
        Path | None,
        typer.Option(
            help="the file to write; bundle/seal-TIER-VERSION.zip, of a kept study seal-NAME-kept-VERSION.zip"
        ),
    ] = None,
) -> None:
    """Write a record with its last weights and checksums as one file, to be uploaded: the same bytes each time."""
    from seal.release.bundle import write_bundle

    with one_line_errors():
        typer.echo(f"{write_bundle(record, out)} is written; `seal check` checks it")


@app.command()
def check(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="a file that `make bundle` or `seal bundle` wrote")],
    run: Annotated[str | None, typer.Option(metavar="ARM-SEED", help="a run of it, e.g. seal-0")] = None,
    evaluation: Annotated[str | None, typer.Option(help="to run again from the run's weights, e.g. transfer")] = None,
) -> None:
    """Check a bundle's files and, in check/, an evaluation of a run in it: whether its values are the same again."""
    from seal.release import check as checking

    with one_line_errors():
        agrees = checking.check(bundle, run, evaluation)
    raise typer.Exit(0 if agrees else 1)
