"""The tests as a package: a module of it is one, whoever imports it."""
