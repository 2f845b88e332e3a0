"""The nouns that everyone shares: versions, adapters, verdicts, aliases, and the registry that holds them.

Start with `version.py` (the one idea of the house), then `registry.py`.
This package imports none of the others, and neither torch nor vLLM at import time.
"""

import logging

logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it asks for a package of kernels that nothing here needs
