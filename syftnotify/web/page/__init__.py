"""The page for people: forms and lists, rendered on the server. It uses the same services as the API."""
