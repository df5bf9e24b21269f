"""HTTP: authenticate, parse to one Inference, find the cluster, hand the request to a replica, answer."""
