import sys

from devtools.faults.command import main

sys.exit(main(sys.argv[1:]))
