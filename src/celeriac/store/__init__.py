"""Stores for events and deliveries."""
