import sys

from celeriac.dev.faults.command import main

sys.exit(main(sys.argv[1:]))
