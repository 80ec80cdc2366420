"""``python -m hf_tokcomp`` is ``hf-tokcomp``, for `accelerate launch -m` and `torchrun -m`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
