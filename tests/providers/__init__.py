"""Closed models of providers: the process that asks them, what it is asked, what is made of their answers."""
