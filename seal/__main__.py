"""The command `seal`, as it is installed and as `python -m seal`; without the artifact's packages, what to install."""

import sys


def main() -> None:
    """Run the command that the arguments name. Ends with one line where a package is missing that the core lacks."""
    try:
        from seal.cli import app

        app()
    except KeyboardInterrupt:  # while it imports; later each command has its own line for it
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "seal", "eval"):
            raise

        sys.exit(
            f"error: found no {package}, which the commands need; `make` installs all that they need, and so does "
            "`pip install '.[artifact]'` in the project's folder"
        )


if __name__ == "__main__":
    main()
