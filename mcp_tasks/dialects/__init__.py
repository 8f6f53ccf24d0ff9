"""The eras, one module each: the only place with method names, field names and error numbers."""
