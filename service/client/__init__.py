"""A client of the HTTP API, for the command line and for trying the service out."""
