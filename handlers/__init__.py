"""The handlers of the shop: one module for each service, imported only by its worker."""
