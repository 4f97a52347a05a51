"""Where events and deliveries are stored."""
