"""``python -m trio_pipecat`` is ``trio-pipecat``."""

from .tools import main

if __name__ == "__main__":
    main()
