"""Clients of a Redis Cluster with the commands that celeriac uses; imported only if needed."""
