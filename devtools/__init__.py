"""What developing celeriac takes and running it does not: an embedded server, the demo, faults."""
