"""Runs the command line as `python -m newsletter`."""

from newsletter.cli.app import main

if __name__ == "__main__":
    main()
