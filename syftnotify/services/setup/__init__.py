"""Setup of a home: options, the plan of changes, writing the configuration, and the sign-in."""
