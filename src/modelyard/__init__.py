"""Modelyard: run any open model behind one API, on your own machines."""

__version__ = "0.1.0"
