"""python3 dev.py compat"""

import sys

from devtools.compat.command import main

sys.exit(main(sys.argv[1:]))
