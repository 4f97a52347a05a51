import sys

from devtools.mutants.command import main

sys.exit(main(sys.argv[1:]))
