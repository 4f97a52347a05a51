import sys

from devtools.demo.main import main

sys.exit(main(sys.argv[1:]))
