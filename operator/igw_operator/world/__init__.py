"""What is: the cache of the cluster, its resync, the optional APIs. Reads only."""
