"""Access to the machine: paths, atomic files, locks, processes, log files."""
