import sys

from celeriac.dev.demo.main import main

sys.exit(main(sys.argv[1:]))
