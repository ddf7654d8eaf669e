"""`python -m actckpt` is the command line."""

import sys

from actckpt.cli import main

sys.exit(main())
