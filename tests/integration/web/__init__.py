"""Tests of the API with a real server and a real client."""
