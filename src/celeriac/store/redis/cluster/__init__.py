"""A Redis Cluster behind the commands that celeriac uses; imported only where the URL names one."""
