"""Events and deliveries in memory, for tests."""
