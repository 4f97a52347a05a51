"""What the services do about events: one module a service, imported by its worker alone."""
