"""Addresses of endpoints, of servers that listen and of databases, and who may come in there."""
