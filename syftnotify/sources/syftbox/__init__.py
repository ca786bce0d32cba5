"""Reads jobs and peers from a SyftBox tree. Read-only; nothing in the tree is trusted."""
