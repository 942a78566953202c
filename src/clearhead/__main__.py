"""`python -m clearhead`, as `torchrun -m` starts it."""

from clearhead.app.cli import main

if __name__ == "__main__":
    main()
