"""Print the extra `bench` of pyproject.toml, one requirement a line, for the Makefile."""

import tomllib

from tests.builders.paths import ROOT


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    print(*project["optional-dependencies"]["bench"], sep="\n")


if __name__ == "__main__":
    main()
