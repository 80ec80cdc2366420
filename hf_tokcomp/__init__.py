"""hf_tokcomp: fewer audio tokens for audio-language models, with one keyword.

Importing it teaches `from_pretrained` of transformers' models and processors the keyword ``compression=``. The command
line alone imports torch and transformers, and with them the names of `hf_tokcomp.api`, not before a command needs them.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from . import starting  # before what takes seconds to import
from ._version import __version__ as __version__

if TYPE_CHECKING:
    from .api import *  # noqa: F403
    from .api import __all__ as __all__


def ready() -> None:
    """Have all public names here and all methods registered, and teach `from_pretrained` its keyword; once."""
    if "__all__" in globals():
        return
    from . import api

    globals().update({name: getattr(api, name) for name in ("__all__", *api.__all__)})
    api.install()


def __getattr__(name: str) -> Any:
    """What is not here yet: a submodule such as `hf_tokcomp.training`, or a public name on the command line."""
    if name == "__all__" or not name.startswith("_"):
        if find_spec(f"{__name__}.{name}") is not None:
            return import_module(f"{__name__}.{name}")
        ready()
        if name in globals():
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    ready()
    return sorted(globals())


if not starting.COMMAND_LINE:
    ready()
