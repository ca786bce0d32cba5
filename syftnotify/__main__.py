"""`python -m syftnotify` is the command `notify`."""

from syftnotify.cli.app import main

if __name__ == "__main__":
    main()
