"""The SyftBox tree: jobs and peers, found by scanning; files in it are not trusted."""
