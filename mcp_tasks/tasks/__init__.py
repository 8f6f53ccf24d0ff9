"""The life cycle of tasks; no word of the wire appears here."""
