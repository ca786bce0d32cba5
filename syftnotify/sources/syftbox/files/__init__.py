"""Access to files of the tree, which is not trusted: bounded, through no link, and only when they have changed."""
