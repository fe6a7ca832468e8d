"""The simulated meter: objects, roles, rights and keys behind the server side of an association."""
