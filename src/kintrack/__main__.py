"""`python -m kintrack` is the command line."""

from kintrack.cli import main

if __name__ == "__main__":
    main()
