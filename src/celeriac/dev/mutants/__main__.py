import sys

from celeriac.dev.mutants.command import main

sys.exit(main(sys.argv[1:]))
