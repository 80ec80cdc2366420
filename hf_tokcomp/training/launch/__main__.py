"""Print a config for `accelerate launch`, to be saved to a file and edited."""

import sys

from ...reporting.console import complain
from . import FILES


def main(arguments: list[str]) -> int:
    """Print the named config and return the exit code."""
    if len(arguments) != 1 or arguments[0] not in FILES:
        complain("error", f"name one of {', '.join(FILES)}")
        return 2
    print(FILES[arguments[0]].read_text(encoding="utf-8"), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
