"""`python -m regstats` is the command `regstats`."""

from regstats.cli import main

if __name__ == "__main__":
    main()
