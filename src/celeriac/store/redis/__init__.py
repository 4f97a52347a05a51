"""Events and deliveries in Redis or Valkey."""
